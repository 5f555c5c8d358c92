"""Checkpoints written once a session, on first use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
import torch
import transformers

from aphrodite_engine.models.base import Decoder
from tests.engine.inside import DEVICE
from tests.engine.models.checkpoints import write_checkpoint
from tests.engine.models.harness import load

Checkpoint = Callable[[str], Path]
LoadedDecoder = Callable[[str, torch.dtype], Decoder]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Models this small are many times slower with threads that wait for each other on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """kind -> folder of a small random checkpoint (read only: copy it before changing it)."""
    home = tmp_path_factory.mktemp("checkpoints")
    transformers.utils.logging.disable_progress_bar()

    def folder(kind: str) -> Path:
        path = home / kind
        return path if path.exists() else write_checkpoint(path, kind)

    return folder


@pytest.fixture(scope="session")
def decoder(checkpoint: Checkpoint) -> LoadedDecoder:
    """(kind, dtype) -> its strict decoder, loaded once; decoders keep nothing from one forward to the next."""
    return cache(lambda kind, dtype: load(checkpoint(kind), dtype, device=DEVICE))
