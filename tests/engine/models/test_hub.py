"""Names of models: demo, folders, and ids of a hub, which is a stub on loopback."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from aphrodite_engine.errors import ModelError
from aphrodite_engine.loading.hub import resolve_model

_SHA = "0123456789abcdef0123456789abcdef01234567"
_FILES = {
    "config.json": b"{}",
    "model.safetensors": b"weights",
    "pytorch_model.bin": b"a pickle",
    "modeling_custom.py": b"print('code')",
    "original/model.safetensors": b"a second copy",
    "tokenizer.json": b"{}",
    "chat_template.jinja": b"",
}


class _StubHub(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = self.path.split("?")[0]
        if path.startswith("/api/models/some/model/revision/"):
            self._send(json.dumps({"id": "some/model", "sha": _SHA, "siblings": []}).encode())
        elif path == f"/api/models/some/model/tree/{_SHA}":
            entries = [
                {"type": "file", "path": name, "size": len(data), "oid": f"{number:040x}"}
                for number, (name, data) in enumerate(_FILES.items())
            ]
            self._send(json.dumps(entries).encode())
        elif path.startswith(f"/some/model/resolve/{_SHA}/"):
            self._send(_FILES[path.removeprefix(f"/some/model/resolve/{_SHA}/")])
        else:
            self._send(b"{}", 404, "RepoNotFound")

    def _send(self, data: bytes, status: int = 200, error: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", f'"{hash(data):x}"')
        self.send_header("X-Repo-Commit", _SHA)
        if error:
            self.send_header("X-Error-Code", error)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment in which a process talks to the stub."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _StubHub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    yield os.environ | {"HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0"}
    server.shutdown()
    server.server_close()


def _resolve(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    code = "import sys; from aphrodite_engine.loading.hub import resolve_model; print(resolve_model(*sys.argv[1:]))"
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_an_id_is_downloaded_without_pickles_and_code(hub: dict[str, str], tmp_path: Path) -> None:
    answer = _resolve(hub, "some/model", str(tmp_path / "downloads"))
    assert answer.returncode == 0, answer.stderr
    folder = Path(answer.stdout.strip())
    assert folder.is_relative_to(tmp_path / "downloads")
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert names == {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"}


def test_an_id_the_hub_does_not_have_is_refused_in_one_line(hub: dict[str, str]) -> None:
    answer = _resolve(hub, "other/model")
    assert answer.returncode != 0
    assert "ModelError: no folder 'other/model', and the hub has no such model" in answer.stderr.splitlines()[-1]


def test_a_hub_out_of_reach_is_refused_in_one_line(hub: dict[str, str]) -> None:
    answer = _resolve(hub | {"HF_ENDPOINT": "http://127.0.0.1:9"}, "some/model")
    assert "ModelError: no folder 'some/model', and the hub could not be reached" in answer.stderr.splitlines()[-1]
    assert answer.stderr.splitlines()[-1].endswith("or `demo`")


@pytest.mark.parametrize("offline", [True, None])
def test_offline_never_asks(tmp_path: Path, offline: bool | None) -> None:
    # None leaves it to HF_HUB_OFFLINE, which these tests set.
    with pytest.raises(ModelError, match="no folder 'some/model', and the hub could not be reached"):
        resolve_model("some/model", download_dir=tmp_path, offline=offline)


def test_folders_and_the_bundled_model(tmp_path: Path) -> None:
    assert resolve_model(str(tmp_path)) == tmp_path
    assert (resolve_model("demo") / "config.json").is_file()
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(ModelError, match="is a file; give the folder"):
        resolve_model(str(tmp_path / "model.safetensors"))
    with pytest.raises(ModelError, match="it is not a Hugging Face id"):
        resolve_model("./no/such/folder")
