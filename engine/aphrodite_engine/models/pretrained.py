"""transformers' configurations and models from a checked folder, filled from our own reading of safetensors."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from types import EllipsisType
from typing import Any

import torch
import transformers
from huggingface_hub.errors import StrictDataclassError

from aphrodite_engine.errors import ModelError
from aphrodite_engine.loading.weights import TensorReader, all_finite, open_checkpoint
from aphrodite_engine.models.base import LoadOptions
from aphrodite_engine.models.folder import ModelFolder
from aphrodite_engine.models.merging import FrugalMerge

_NO_THREADS = "HF_DEACTIVATE_ASYNC_LOAD"


class LazyTensor:
    """A tensor of the checkpoint that is read when transformers asks for it in a dtype.

    transformers indexes it first, which reads one of safetensors' own slices; that would be the stored dtype, and the
    converted tensor would come beside it.
    """

    def __init__(self, reader: TensorReader, merge: FrugalMerge, name: str, shape: tuple[int, ...]) -> None:
        self._reader, self._merge, self._name, self.shape = reader, merge, name, shape

    def __getitem__(self, index: EllipsisType) -> LazyTensor:
        return self

    def to(self, device: object, dtype: torch.dtype | None) -> torch.Tensor:
        """The tensor on the CPU, whence the whole model moves to its device."""
        return self._merge.spend(self._reader.take(self._name, self.shape, dtype))


def read_pretrained_config(folder: ModelFolder) -> Any:
    """transformers' configuration of the folder.

    Raises:
        ModelError: transformers does not know the model type, or a setting has the wrong type.
    """
    try:
        return transformers.AutoConfig.from_pretrained(
            folder.path, local_files_only=True, trust_remote_code=folder.trust_remote_code
        )
    except (ValueError, TypeError, KeyError, OSError, StrictDataclassError) as error:
        raise ModelError(f"{folder.config_file}: transformers can't read it: {one_line(error)}") from error


def one_line(error: Exception) -> str:
    """An error's text without line breaks, short enough to stand in another's."""
    text = " ".join(str(error).split())
    return text if len(text) <= 200 else text[:197] + "..."


def load_pretrained(
    model_class: Any,
    config: transformers.PreTrainedConfig,
    folder: Path,
    options: LoadOptions,
    unused: re.Pattern[str] | None = None,
    **model_arguments: Any,
) -> Any:
    """A transformers model in evaluation mode with the folder's weights, each read once, renamed and merged as needed.

    Args:
        model_class: a model class of transformers.
        unused: names of tensors that the folder may have and this class of model does not use.
        model_arguments: for the constructor of the class.

    Raises:
        ModelError: tensors are missing, have no place in the model, or have another shape than config.json says.
    """
    checkpoint = open_checkpoint(folder)
    reader = TensorReader(checkpoint, None, torch.device("cpu"), options.progress)
    merge = FrugalMerge()
    state = {
        name: LazyTensor(reader, merge, name, entry.shape)
        for name, entry in checkpoint.tensors.items()
        if unused is None or not unused.search(name)
    }
    with merge, _quiet_and_one_by_one():
        try:
            model, report = model_class.from_pretrained(
                None, config=config, state_dict=state, dtype=options.dtype, output_loading_info=True, **model_arguments
            )
        except (ValueError, TypeError, KeyError, RuntimeError) as error:
            raise ModelError(f"{folder}: transformers can't load it: {one_line(error)}") from error
    _check(folder, report)
    if options.dtype == torch.float16:
        _check_range(folder, model)
    return model.to(options.device).eval()


@contextlib.contextmanager
def _quiet_and_one_by_one() -> Iterator[None]:
    """No bar beside LoadOptions.progress, and no threads that read ahead of what is in use: with a mixture of experts,
    whose weights are merged while they load, those took 0.7 times the model on top."""
    logging = transformers.utils.logging
    with_bar, threads = logging.is_progress_bar_enabled(), os.environ.get(_NO_THREADS)
    logging.disable_progress_bar()
    os.environ[_NO_THREADS] = "1"
    try:
        yield
    finally:
        if with_bar:
            logging.enable_progress_bar()
        del os.environ[_NO_THREADS]
        if threads is not None:
            os.environ[_NO_THREADS] = threads


def _check(folder: Path, report: dict[str, Any]) -> None:
    for kind, problem in (
        ("missing_keys", "tensors are missing"),
        ("unexpected_keys", "tensors that config.json has no place for"),
        ("mismatched_keys", "tensors have another shape than config.json says"),
        ("error_msgs", "tensors could not be read"),
        ("conversion_errors", "tensors could not be merged"),
    ):
        names = [str(name) for name in report.get(kind) or ()]
        if names:
            more = f" and {len(names) - 4} more" if len(names) > 4 else ""
            raise ModelError(f"{folder}: {problem}: {', '.join(sorted(names)[:4])}{more}")


def _check_range(folder: Path, model: torch.nn.Module) -> None:
    for name, parameter in model.named_parameters():
        if not all_finite(parameter.data):
            raise ModelError(f"{folder}: tensor {name!r} does not fit float16; use bfloat16 or float32")
