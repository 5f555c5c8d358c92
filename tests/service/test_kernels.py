"""Notebook kernels come and go; the service and its model stay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jupyter_client
import msgspec
import pytest

from tests.service.processes import alive
from tests.service.running import free_port

KERNEL = """
import json, urllib.request
from aphrodite.service import daemon
from aphrodite.service.settings import ModelSettings, ServiceSettings
models = (ModelSettings("demo", engine={"kv_cache_memory": 2**26}),)
started = daemon.up(ServiceSettings(models=models, port=PORT))
body = {"model": "demo", "messages": [{"role": "user", "content": "Tell me a story."}], "seed": 11, "max_tokens": 24,
        "return_token_ids": True}
request = urllib.request.Request(started.connection.url + "/v1/chat/completions", json.dumps(body).encode(),
                                 {"content-type": "application/json"})
with urllib.request.urlopen(request) as reply:
    answer = json.load(reply)
status = daemon.ask(started.connection, "GET", "/admin/status")
result = [started.is_new, status["models"][0]["pid"], answer["choices"][0]["token_ids"]]
"""


def in_a_new_kernel(code: str) -> Any:
    """`result` of the code in an IPython kernel that is killed afterwards."""
    manager, client = jupyter_client.manager.start_new_kernel(startup_timeout=60)
    try:
        reply = client.execute_interactive(
            code, silent=False, user_expressions={"result": "json.dumps(result)"}, timeout=120, output_hook=print
        )
        assert reply["content"]["status"] == "ok", reply["content"]
        text = reply["content"]["user_expressions"]["result"]["data"]["text/plain"]
        return msgspec.json.decode(text.strip("'"))
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)  # SIGKILL
        manager.cleanup_resources()


@pytest.mark.slow
def test_two_kernels_are_restarted_while_the_model_stays_loaded(home: Path) -> None:
    code = KERNEL.replace("PORT", str(free_port()))
    first_is_new, first_engine, first_tokens = in_a_new_kernel(code)
    assert first_is_new
    assert alive(first_engine)
    second_is_new, second_engine, second_tokens = in_a_new_kernel(code)
    third = in_a_new_kernel(code)
    assert not second_is_new
    assert second_engine == first_engine
    assert second_tokens == first_tokens
    assert third == [False, first_engine, first_tokens]
