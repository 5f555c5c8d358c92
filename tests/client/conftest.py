"""A service, and the same model in this process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from aphrodite.client import Client
from aphrodite.local import LocalSession
from tests.service.running import Running, running


@pytest.fixture(scope="session")
def service() -> Iterator[Running]:
    """The bundled model, served; tests that use it leave it as they found it."""
    with running() as found:
        yield found


@pytest.fixture(scope="session")
def client(service: Running) -> Iterator[Client]:
    """With the admin key."""
    with Client(service.url, api_key=service.connection.admin_key) as found:
        yield found


@pytest.fixture(scope="session")
def here() -> Iterator[LocalSession]:
    """The bundled model in this process."""
    with LocalSession("demo", kv_cache_memory=2**26) as session:
        yield session
