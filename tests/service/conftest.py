"""One service for every test that does not break it."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
import openai
import pytest

from tests.service.running import Running, running


@pytest.fixture(scope="session")
def service() -> Iterator[Running]:
    """The bundled model, served; tests that use it leave it as they found it."""
    with running() as found:
        yield found


@pytest.fixture(scope="session")
def http(service: Running) -> Iterator[httpx2.Client]:
    with service.client() as client:
        yield client


@pytest.fixture(scope="session")
def sdk(service: Running) -> Iterator[openai.OpenAI]:
    """OpenAI's own client."""
    with openai.OpenAI(base_url=service.url + "/v1", api_key="none", max_retries=0) as client:
        yield client
