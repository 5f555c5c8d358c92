"""One service for all tests of the playground, and an asynchronous client of it."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
import pytest

from tests.service.running import Running, running, wait_for


@pytest.fixture(scope="session")
def served() -> Iterator[Running]:
    """The bundled model; nobody has opened its page yet."""
    with running() as found:
        yield found


@pytest.fixture(scope="session")
def opened(served: Running) -> Running:
    """The same, with its playground ready."""
    arrive(served)
    return served


def arrive(service: Running, **options: object) -> httpx2.Response:
    """Visit the playground, and wait until it is there."""

    def answer() -> httpx2.Response | None:
        with service.client(**options) as client:
            found = client.get("/playground/")
        return None if found.status_code == 202 else found

    return wait_for(answer, 90)
