"""Checkpoints written once a session, on first use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import transformers
from tests.engine.models.checkpoints import write_checkpoint

Checkpoint = Callable[[str], Path]


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """kind -> folder of a small random checkpoint (read only: copy it before changing it)."""
    home = tmp_path_factory.mktemp("checkpoints")
    transformers.utils.logging.disable_progress_bar()

    def folder(kind: str) -> Path:
        path = home / kind
        return path if path.exists() else write_checkpoint(path, kind)

    return folder
