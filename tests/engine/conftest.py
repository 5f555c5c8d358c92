"""Fixtures of the engine's tests: the bundled model and a tiny random one, each loaded once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from aphrodite_engine.llm import LLM
from tests.engine.tiny import write_tiny_llama
from tests.examples import look_alike_every_time

look_alike_every_time()  # here, too: on a card the tests of this folder run without the conftest file above it


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama with grouped-query attention, a byte tokenizer and a chat template."""
    return write_tiny_llama(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def tiny(tiny_folder: Path) -> Iterator[LLM]:
    with LLM(tiny_folder) as llm:
        yield llm


@pytest.fixture(scope="session")
def demo() -> Iterator[LLM]:
    with LLM("demo", dtype="float32") as llm:  # on a GPU, too: tests know what it writes
        yield llm
