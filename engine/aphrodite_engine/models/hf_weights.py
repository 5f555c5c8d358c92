"""Our checked reading of safetensors as the source from which transformers fills a model."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import transformers

from aphrodite_engine.errors import ModelError
from aphrodite_engine.models.base import LoadOptions
from aphrodite_engine.weights import TensorReader, open_checkpoint


class LazyTensor:
    """A tensor of the checkpoint that is read when transformers indexes it, as it does with safetensors' own slices."""

    def __init__(self, reader: TensorReader, name: str, shape: tuple[int, ...]) -> None:
        self._reader, self._name, self.shape = reader, name, shape

    def __getitem__(self, index: Any) -> torch.Tensor:
        return self._reader.take(self._name, self.shape)[index]


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
    state = {
        name: LazyTensor(reader, name, entry.shape)
        for name, entry in checkpoint.tensors.items()
        if unused is None or not unused.search(name)
    }
    with _without_progress_bar():
        model, report = model_class.from_pretrained(
            None, config=config, state_dict=state, dtype=options.dtype, output_loading_info=True, **model_arguments
        )
    _check(folder, report)
    if options.dtype == torch.float16:
        _check_range(folder, model)
    return model.to(options.device).eval()


@contextlib.contextmanager
def _without_progress_bar() -> Iterator[None]:
    """Progress is reported through LoadOptions; transformers' bar would be drawn beside it."""
    logging = transformers.utils.logging
    if not logging.is_progress_bar_enabled():
        yield
        return
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.enable_progress_bar()


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
        if not bool(torch.isfinite(parameter).all()):
            raise ModelError(f"{folder}: tensor {name!r} does not fit float16; use bfloat16 or float32")
