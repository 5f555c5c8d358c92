"""FAULTS 22: embeddings in place of a prompt, and the pickles that they travel in elsewhere, are not taken."""

from __future__ import annotations

import base64
import os
import pickle
from pathlib import Path
from typing import Any

import httpx2
import pytest

QUESTION = [{"role": "user", "content": "What is 39 + 48?"}]


class Canary:
    """Unpickling it makes a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.file),)


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v1/completions", {"prompt": "One"}),
        ("/v1/chat/completions", {"messages": QUESTION, "max_tokens": 1}),
        ("/v1/responses", {"input": "One", "max_output_tokens": 1}),
        ("/generate", {"prompt": "One", "max_tokens": 1}),
    ],
)
def test_fault_22_prompt_embeddings_are_refused_and_never_unpickled(
    http: httpx2.Client, tmp_path: Path, path: str, fields: dict[str, Any]
) -> None:
    bomb = pickle.dumps(Canary(tmp_path / "canary"))
    for embeds in (base64.b64encode(bomb).decode(), [base64.b64encode(bomb).decode()], [[0.5] * 8]):
        answer = http.post(path, json={"model": "demo", **fields, "prompt_embeds": embeds})
        refused = answer.status_code == 400 and answer.json()["error"]["param"] == "prompt_embeds"
        assert refused or "prompt_embeds" in answer.headers.get("x-ignored-params", ""), answer.text
    assert not (tmp_path / "canary").exists()
    assert http.post("/v1/completions", json={"model": "demo", "prompt": "1", "prompt_embeds": [1]}).status_code == 400


def test_fault_22_a_pickle_is_no_body(http: httpx2.Client, tmp_path: Path) -> None:
    bomb = pickle.dumps(Canary(tmp_path / "canary"))
    for kind in ("application/json", "application/octet-stream", "application/python-pickle"):
        answer = http.post("/v1/chat/completions", content=bomb, headers={"content-type": kind})
        assert answer.status_code in (400, 415)
    assert not (tmp_path / "canary").exists()
