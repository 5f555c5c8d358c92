"""Nothing is ever unpickled: with every unpickler broken, in service and engine process, everything still works."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.service.running import running

GUARD = Path(__file__).parent / "no_pickle"
MESSAGES = [{"role": "user", "content": "What is 39 + 48?"}]


def guarded(notes: Path) -> dict[str, str]:
    path = os.pathsep.join(filter(None, [str(GUARD), os.environ.get("PYTHONPATH")]))
    return {"PYTHONPATH": path, "APHRODITE_TEST_NOTES": str(notes)}


@pytest.mark.parametrize(
    "code",
    [
        "pickle.loads(pickle.dumps(1))",
        "pickle.Unpickler(io.BytesIO(pickle.dumps(1))).load()",
        "_pickle.loads(pickle.dumps(1))",
        "pickle._Unpickler(io.BytesIO(pickle.dumps(1))).load()",
        "type('Mine', (pickle.Unpickler,), {})(io.BytesIO(b'')).load()",
    ],
)
def test_the_guard_guards(tmp_path: Path, code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"import _pickle, io, pickle; {code}"],
        env=os.environ | guarded(tmp_path), capture_output=True, text=True,
    )  # fmt: skip
    assert "something was unpickled" in done.stderr
    assert list(tmp_path.glob("unpickled-*"))


@pytest.mark.slow
def test_service_and_engine_process_work_without_unpickling(tmp_path: Path) -> None:
    with running(None, **guarded(tmp_path)) as service, service.client(headers=service.admin) as http:
        engine = service.engine_pid()
        for kind, pid in (("guarded", service.process.pid), ("guarded", engine), ("torch", engine)):
            assert (tmp_path / f"{kind}-{pid}").exists()
        ask = {"model": "demo", "messages": MESSAGES, "temperature": 0, "logprobs": True, "top_logprobs": 2}
        whole = http.post("/v1/chat/completions", json=ask)
        assert "87" in whole.json()["choices"][0]["message"]["content"]
        streamed = http.post("/v1/chat/completions", json={**ask, "stream": True})
        assert streamed.text.endswith("data: [DONE]\n\n")
        second = http.post("/admin/load", json={"model": "demo", "names": ["b"], "engine": {"kv_cache_memory": 2**24}})
        assert second.json()["state"] == "ready"
        assert http.post("/admin/sleep", json={"model": "b"}).json()["state"] == "asleep"
        assert http.post("/admin/wake", json={"model": "b"}).json()["state"] == "ready"
        embedded = http.post("/v1/embeddings", json={"model": "demo", "input": ["a cat", "a kitten"]})
        assert [row["index"] for row in embedded.json()["data"]] == [0, 1]
        assert service.terminate() == 0
    assert list(tmp_path.glob("unpickled-*")) == []
