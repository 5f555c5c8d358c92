"""One service for all notebooks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.notebooks.books import aphrodite_up


@pytest.fixture(scope="session")
def environment() -> Iterator[dict[str, str]]:
    """What a notebook's kernel is started with."""
    with aphrodite_up() as found:
        yield found
