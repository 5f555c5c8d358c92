"""The engine's options as flags, the same for every command that loads a model."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class EngineFlag:
    """One option of `LLM`; kept here, not read from the engine, because reading that would import torch."""

    name: str
    help: str
    default: str
    parse: Callable[[str], Any] | None = str  # None is a boolean pair --x and --no-x
    choices: tuple[str, ...] | None = None
    metavar: str | None = None


def memory_size(text: str) -> int:
    """'512MiB', '2GB', '1073741824' -> bytes."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?) *(?:([kmgt])(i?)b?|b)?", text.strip(), re.IGNORECASE)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size; write bytes, or a number with MiB, GiB, MB, GB")
    number, unit, binary = match.groups()
    exponent = "kmgt".index(unit.lower()) + 1 if unit else 0
    return int(float(number) * (1024 if binary else 1000) ** exponent)


ENGINE_FLAGS = (
    EngineFlag(
        "dtype",
        "number format of weights and KV cache; auto is the model's own on a GPU, float32 on the CPU",
        "auto",
        choices=("auto", "float32", "bfloat16", "float16"),
    ),
    EngineFlag("device", "auto, cpu, cuda or cuda:N; auto is cuda where there is one", "auto", metavar="DEVICE"),
    EngineFlag(
        "max_model_len",
        "longest sequence in tokens, prompt and answer together; 2 up to the model's own limit",
        "as long as fits",
        int,
        metavar="N",
    ),
    EngineFlag(
        "determinism",
        "strict: the same bits whatever else runs beside a request; fast: matmuls may differ in the last bit",
        "strict",
        choices=("strict", "fast"),
    ),
    EngineFlag("download_dir", "where models from the hub are kept", "the hub's own cache", metavar="FOLDER"),
    EngineFlag("revision", "branch, tag or commit of a model from the hub", "main", metavar="NAME"),
    EngineFlag("offline", "use only what is already on this machine", "as HF_HUB_OFFLINE says", None),
    EngineFlag("trust_remote_code", "run Python code that a model folder brings", "no", None),
    EngineFlag(
        "gpu_memory_utilization", "share of the GPU's memory to use, above 0 up to 1", "0.9", float, metavar="X"
    ),
    EngineFlag(
        "kv_cache_memory",
        "memory for the KV cache: bytes, or 512MiB, 2GiB",
        "planned from what is free",
        memory_size,
        metavar="SIZE",
    ),
    EngineFlag(
        "reserved_memory",
        "memory to leave alone for what else runs on the device: bytes, or 512MiB, 2GiB",
        "none",
        memory_size,
        metavar="SIZE",
    ),
    EngineFlag(
        "max_num_batched_tokens",
        "most tokens in one step, prompt chunks and new tokens together; at least 1",
        "512 on the CPU, 2048 on a GPU",
        int,
        metavar="N",
    ),
    EngineFlag("max_num_seqs", "most sequences running at once; at least 1", "256", int, metavar="N"),
    EngineFlag("enable_prefix_caching", "reuse the KV blocks of equal prompt beginnings", "yes", None),
    EngineFlag("quantization", "int8: weights as 8-bit integers, a scale a row", "none", metavar="NAME"),
    EngineFlag("enforce_eager", "never use CUDA graphs", "no", None),
    EngineFlag("run_ahead", "launch a step before the tokens of the last one are read", "on a GPU", None),
)


def add_model_flag(parser: argparse.ArgumentParser, default: str) -> None:
    """-m, --model."""
    meaning = f"a model folder, a Hugging Face id, or demo, the bundled one (default: {default})"
    parser.add_argument("-m", "--model", default=default, help=meaning)


def add_engine_flags(parser: argparse.ArgumentParser) -> None:
    """Every engine option; one that is not given keeps the engine's default."""
    group = parser.add_argument_group("engine", "how the model is loaded and run")
    for flag in ENGINE_FLAGS:
        options: dict[str, Any] = (
            {"action": argparse.BooleanOptionalAction}
            if flag.parse is None
            else {"type": flag.parse, "choices": flag.choices, "metavar": flag.metavar}
        )
        name = "--" + flag.name.replace("_", "-")
        group.add_argument(name, default=argparse.SUPPRESS, help=f"{flag.help} (default: {flag.default})", **options)


def engine_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """The options that were given on the command line."""
    return {flag.name: getattr(arguments, flag.name) for flag in ENGINE_FLAGS if hasattr(arguments, flag.name)}
