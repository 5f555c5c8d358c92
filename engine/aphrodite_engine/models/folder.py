"""What the JSON files of a model folder say, checked as far as every kind of model needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from aphrodite_engine.errors import ModelError, UnsupportedModelError
from aphrodite_engine.loading.weights import read_json

_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class ModelFolder:
    """A model folder's config.json (`config`), and what follows from it and generation_config.json.

    Attributes:
        dtype: the dtype config.json names, or float32.
        eos_token_ids: generation_config.json's, then those that only config.json has.
        trust_remote_code: whether Python code of the folder may run.
    """

    path: Path
    config: Mapping[str, Any]
    architecture: str
    dtype: torch.dtype
    eos_token_ids: tuple[int, ...]
    trust_remote_code: bool = False

    @property
    def config_file(self) -> Path:
        return self.path / "config.json"


def open_model_folder(path: Path, trust_remote_code: bool = False) -> ModelFolder:
    """Read a folder's JSON files.

    Raises:
        ModelError: the folder or its config.json is missing or invalid.
        UnsupportedModelError: it brings Python code that is not trusted, or quantised weights.
    """
    if not path.is_dir():
        raise ModelError(f"no folder {path}")
    config = read_json(path, "config.json")
    if config.get("auto_map") and not trust_remote_code:
        raise UnsupportedModelError(
            f"{path}/config.json names Python code of its own (auto_map), which would run on this machine; "
            "pass trust_remote_code=True if you trust it"
        )
    if config.get("quantization_config"):
        method = config["quantization_config"]
        method = method.get("quant_method") if isinstance(method, dict) else method
        raise UnsupportedModelError(f"{path}/config.json: weights quantised with {method!r} are not supported")
    architecture, dtype = _architecture(path, config), _dtype(path, config)
    return ModelFolder(path, config, architecture, dtype, _eos_token_ids(path, config), trust_remote_code)


def _architecture(path: Path, config: Mapping[str, Any]) -> str:
    architectures = config.get("architectures")
    if not isinstance(architectures, list) or not architectures or not isinstance(architectures[0], str):
        raise ModelError(f"{path}/config.json: no `architectures`, so there is no telling what model it is")
    return architectures[0]


def _dtype(path: Path, config: Mapping[str, Any]) -> torch.dtype:
    name = config.get("dtype") or config.get("torch_dtype") or "float32"
    dtype = _DTYPES.get(str(name).removeprefix("torch."))
    if dtype is None:
        raise ModelError(f"{path}/config.json: dtype {name!r} is not one of {', '.join(_DTYPES)}")
    return dtype


def _eos_token_ids(path: Path, config: Mapping[str, Any]) -> tuple[int, ...]:
    sources = [config]
    if (path / "generation_config.json").exists():
        sources.insert(0, read_json(path, "generation_config.json"))
    ids: list[Any] = []
    for source in sources:
        value = source.get("eos_token_id")
        ids.extend(value if isinstance(value, list) else [] if value is None else [value])
    if not all(type(token_id) is int and token_id >= 0 for token_id in ids):
        raise ModelError(f"{path}: eos_token_id must be token ids, not {ids!r}")
    return tuple(dict.fromkeys(ids))
