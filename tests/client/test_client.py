"""The client's other calls against the real service: OpenAI's routes, models that come and go, the light import."""

from __future__ import annotations

import asyncio
import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

from aphrodite.client import AsyncClient, Client, ConflictError, NotFoundError, RateLimitError, ServerUnavailable
from aphrodite_engine.errors import ParameterError
from tests.service.running import Running, running, wait_for

QUESTION = [{"role": "user", "content": "What is 39 + 48?"}]


def test_a_chat_completion_whole_and_as_a_stream(client: Client) -> None:
    whole = client.chat_completion(QUESTION, temperature=0)
    assert whole["choices"][0]["message"]["content"] == "87"
    pieces = list(client.stream_completion(QUESTION, temperature=0, stream_options={"include_usage": True}))
    assert "".join(c["delta"].get("content") or "" for piece in pieces for c in piece["choices"]) == "87"
    assert pieces[-1]["usage"] == whole["usage"] | {
        "prompt_tokens_details": pieces[-1]["usage"]["prompt_tokens_details"]
    }


def test_completions_embeddings_and_rerank(client: Client) -> None:
    assert client.completion("Once upon", max_tokens=3, seed=1)["usage"]["completion_tokens"] == 3
    assert len(client.embeddings(["a", "b"])["data"]) == 2
    best = client.rerank("a fox", ["a fox", "7 + 8"])["results"][0]
    assert best["index"] == 0


def test_responses(client: Client) -> None:
    response = client.create_response("What is 39 + 48?", temperature=0)
    assert response["output"][0]["content"][0]["text"] == "87"
    assert client.get_response(response["id"])["status"] == "completed"
    assert client.delete_response(response["id"])["deleted"]
    with pytest.raises(NotFoundError):
        client.get_response(response["id"])


def test_files_and_batches(client: Client, tmp_path: Path) -> None:
    body = {"model": "demo", "messages": QUESTION, "temperature": 0}
    line = json.dumps({"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": body}).encode()
    (tmp_path / "questions.jsonl").write_bytes(line)
    for file in (tmp_path / "questions.jsonl", line):
        stored = client.upload_file(file, name="questions.jsonl")
        assert client.file_content(stored["id"]) == line
    assert stored["id"] in [found["id"] for found in client.files()]
    batch = client.create_batch(stored["id"])
    wait_for(lambda: client.get_batch(batch["id"])["status"] == "completed", 60)
    assert b'"content":"87"' in client.file_content(client.get_batch(batch["id"])["output_file_id"])
    assert batch["id"] in [found["id"] for found in client.batches()]
    assert client.delete_file(stored["id"])["deleted"]


def test_the_one_model_is_meant_where_none_is_named(service: Running) -> None:
    with Client(service.url) as client:
        assert client.model is None
        client.chat_completion(QUESTION, max_tokens=1)
        assert client.model == "demo"
        with pytest.raises(NotFoundError, match="nobody") as caught:
            client.generate("a", model="nobody")
        assert caught.value.code == "model_not_found" and caught.value.param == "model"
    with Client(service.url, model="nobody") as client, pytest.raises(NotFoundError):
        client.chat_completion(QUESTION)


def test_pieces_of_a_whole_call_are_asked_for_by_their_name(client: Client) -> None:
    with pytest.raises(ParameterError, match="stream_completion"):
        client.chat_completion(QUESTION, stream=True)


def test_the_asynchronous_client(service: Running) -> None:
    async def main() -> list[str]:
        async with AsyncClient(service.url) as client:
            answer, results, models = await asyncio.gather(
                client.chat_completion(QUESTION, temperature=0), client.chat(QUESTION, temperature=0), client.models()
            )
            pieces = [event.text async for event in client.stream(QUESTION, temperature=0)]
        return [answer["choices"][0]["message"]["content"], results[0].text, "".join(pieces), models[0].id]

    assert asyncio.run(main()) == ["87", "87", "87", "demo"]


def test_both_clients_have_the_same_calls() -> None:
    def calls(kind: type) -> set[str]:
        return {name for name in dir(kind) if not name.startswith("_")}

    own, remote = calls(Client), calls(AsyncClient)
    twins = {name for name in own if name.startswith("a") and name[1:] in own}
    assert own - remote - twins == {"start", "model", "branch", "replay"}, "a result asks its maker for abranch"
    assert remote - own == {"belongs_to"} and {"agenerate", "ascore", "abranch", "areplay"} <= twins
    assert "Complete one prompt or many" in (inspect.getdoc(Client.generate) or "")


@pytest.mark.slow
def test_models_come_go_sleep_and_wake() -> None:
    with running() as service, Client(service.url, api_key=service.connection.admin_key, retries=0) as client:
        assert client.load("demo", names=["second"], kv_cache_memory=2**24)["state"] == "ready"
        assert {model.id for model in client.models()} == {"demo", "second"}
        with pytest.raises(ConflictError):
            client.load("demo", names=["second"])
        with pytest.raises(ParameterError, match="demo, second"):
            client.chat_completion(QUESTION)
        assert client.chat(QUESTION, model="second", temperature=0)[0].text == "87"
        assert client.sleep("second")["state"] == "asleep"
        with pytest.raises(ServerUnavailable, match="asleep") as caught:
            client.generate("a", model="second")
        assert caught.value.retry_after
        assert client.wake("second")["state"] == "ready"
        client.unload("second")
        assert [model["id"] for model in client.status()["models"]] == ["demo"]
        assert client.generate("a", max_tokens=1)[0].finished


@pytest.mark.slow
def test_an_engine_that_dies_is_told_and_comes_back() -> None:
    import os
    import signal

    from aphrodite.client import StreamInterrupted

    with running() as service, Client(service.url) as client:
        stream = client.stream("Once", ignore_eos=True, max_tokens=1900)
        next(stream)
        os.kill(service.engine_pid(), signal.SIGKILL)
        with pytest.raises(StreamInterrupted) as caught:
            list(stream)
        assert caught.value.code == "engine_lost"
        # The client waits as long as the service says, and tries again until the engine is back.
        wait_for(lambda: _answers(client), 30)


def _answers(client: Client) -> bool:
    try:
        return client.chat(QUESTION, temperature=0)[0].text == "87"
    except (ServerUnavailable, RateLimitError):
        return False


@pytest.mark.parametrize("code", ["import aphrodite.client", "from aphrodite import connect, Client, SamplingParams"])
def test_the_import_brings_no_torch_and_no_server(code: str) -> None:
    heavy = "{'torch', 'transformers', 'starlette', 'uvicorn', 'tqdm', 'jinja2', 'pandas'}"
    check = f"import sys; {code}; assert not (found := {heavy} & sys.modules.keys()), found"
    subprocess.run([sys.executable, "-c", check], check=True)


def test_work_that_is_begun_goes_on_beside_and_can_be_cancelled(client: Client) -> None:
    begun = client.start(lambda remote: remote.generate("Once upon a time", seed=1, max_tokens=5))
    waited = client.generate("Once upon a time", seed=1, max_tokens=5)
    assert begun.result(30)[0].token_ids == waited[0].token_ids
    endless = client.start(lambda remote: remote.generate("Once", max_tokens=None, ignore_eos=True))
    assert endless.cancel() and endless.cancelled()
