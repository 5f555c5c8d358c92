"""`/v1/batches` as its clients use it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from typing import Any

import httpx2
import openai
import pytest
from openai.types import Batch

from tests.service.running import Running, wait_for
from tests.service.teammates import bearer, new_key, new_name, store

CHAT = "/v1/chat/completions"
ENDED = ("completed", "failed", "expired", "cancelled")


def line(custom_id: str, url: str = CHAT, **body: Any) -> str:
    body = {"model": "demo", **(body or question(1))}
    return json.dumps({"custom_id": custom_id, "method": "POST", "url": url, "body": body})


def question(number: int) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": f"What is {number} + 48?"}], "temperature": 0, "max_tokens": 8}


def upload(sdk: openai.OpenAI, lines: Iterable[str] | bytes) -> str:
    data = lines if isinstance(lines, bytes) else "\n".join(lines).encode()
    return sdk.files.create(file=("batch.jsonl", data), purpose="batch").id


def begin(sdk: openai.OpenAI, lines: Iterable[str] | bytes, endpoint: Any = CHAT) -> Batch:
    return sdk.batches.create(input_file_id=upload(sdk, lines), endpoint=endpoint, completion_window="24h")


def ended(sdk: openai.OpenAI, batch: Batch, seconds: float = 60) -> Batch:
    def found() -> Batch | None:
        now = sdk.batches.retrieve(batch.id)
        return now if now.status in ENDED else None

    return wait_for(found, seconds)


def results(sdk: openai.OpenAI, file_id: str | None) -> list[dict[str, Any]]:
    return [json.loads(text) for text in sdk.files.content(file_id).text.splitlines()] if file_id else []


def test_a_batch_of_chats_in_openai_s_own_client(sdk: openai.OpenAI) -> None:
    lines = [line(f"r{number}", **question(number)) for number in range(40)]
    batch = begin(sdk, lines)
    assert (batch.object, batch.endpoint, batch.completion_window) == ("batch", CHAT, "24h")
    done = ended(sdk, batch)
    assert done.status == "completed" and done.model == "demo"
    answers = [result["response"]["body"]["usage"] for result in results(sdk, done.output_file_id)]
    assert done.usage is not None and done.usage.total_tokens == sum(usage["total_tokens"] for usage in answers) > 400
    assert done.usage.input_tokens == sum(usage["prompt_tokens"] for usage in answers)
    assert done.request_counts is not None and done.request_counts.to_dict() == {
        "total": 40,
        "completed": 40,
        "failed": 0,
    }
    assert done.error_file_id is None and done.in_progress_at and done.finalizing_at and done.completed_at
    found = results(sdk, done.output_file_id)
    assert [one["custom_id"] for one in found] == [f"r{number}" for number in range(40)]
    assert found[39]["response"]["status_code"] == 200 and found[39]["error"] is None
    assert found[39]["response"]["body"]["choices"][0]["message"]["content"] == "87"
    assert done.id in [one.id for one in sdk.batches.list(limit=5)]
    assert sdk.files.retrieve(done.output_file_id or "").purpose == "batch_output"


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        ("/v1/completions", {"prompt": "Once upon", "max_tokens": 3}),
        ("/v1/embeddings", {"input": ["one", "two"]}),
        ("/v1/responses", {"input": "What is 39 + 48?", "max_output_tokens": 8}),
    ],
)
def test_every_endpoint_that_a_batch_may_have(
    sdk: openai.OpenAI, http: httpx2.Client, endpoint: str, body: dict[str, Any]
) -> None:
    done = ended(sdk, begin(sdk, [line("a", endpoint, **body), line("b", endpoint, **body)], endpoint))
    assert done.request_counts is not None and done.request_counts.completed == 2, results(sdk, done.error_file_id)
    direct = http.post(endpoint, json={"model": "demo", **body})
    assert set(results(sdk, done.output_file_id)[0]["response"]["body"]) == set(direct.json())


def test_an_answer_that_is_an_error_goes_to_the_error_file(sdk: openai.OpenAI) -> None:
    lines = [line("good"), line("bad", messages=[], temperature=3), line("who", model="nobody", messages=[])]
    done = ended(sdk, begin(sdk, lines))
    assert done.status == "completed"
    assert [one["custom_id"] for one in results(sdk, done.output_file_id)] == ["good"]
    bad, who = results(sdk, done.error_file_id)
    assert bad["custom_id"] == "bad" and bad["error"] is None and bad["response"]["status_code"] == 400
    assert who["response"]["status_code"] == 404 and who["response"]["body"]["error"]["code"] == "model_not_found"


def test_a_cancelled_batch_keeps_what_was_answered(sdk: openai.OpenAI) -> None:
    endless = {"messages": question(1)["messages"], "ignore_eos": True, "max_tokens": 1500}
    batch = begin(sdk, [line(f"quick{n}") for n in range(8)] + [line(f"r{n}", **endless) for n in range(200)])
    wait_for(lambda: counts(sdk, batch)["completed"] >= 8, 30)
    assert sdk.batches.cancel(batch.id).status in ("cancelling", "cancelled")
    done = ended(sdk, batch, 20)
    assert done.status == "cancelled" and done.cancelling_at and done.cancelled_at
    good, rest = results(sdk, done.output_file_id), results(sdk, done.error_file_id)
    assert len(good) + len(rest) == 208 and {f"quick{n}" for n in range(8)} <= {one["custom_id"] for one in good}
    assert {one["error"]["code"] for one in rest} == {"batch_cancelled"}
    assert sdk.batches.cancel(batch.id).status == "cancelled", "once more does no harm"


def counts(sdk: openai.OpenAI, batch: Batch) -> dict[str, int]:
    found = sdk.batches.retrieve(batch.id).request_counts
    assert found is not None
    return found.to_dict()  # type: ignore[return-value]


def test_a_person_s_question_goes_before_a_batch(sdk: openai.OpenAI) -> None:
    endless = {"messages": question(1)["messages"], "ignore_eos": True, "max_tokens": 1000}
    batch = begin(sdk, [line(f"r{n}", **endless) for n in range(64)])
    wait_for(lambda: sdk.batches.retrieve(batch.id).status == "in_progress", 10)
    started = time.monotonic()
    answer = sdk.chat.completions.create(model="demo", **question(39))
    assert answer.choices[0].message.content == "87"
    assert time.monotonic() - started < 10
    assert counts(sdk, batch)["completed"] < 64
    sdk.batches.cancel(batch.id)
    ended(sdk, batch, 20)


@pytest.mark.parametrize(
    ("change", "status", "param"),
    [
        ({"endpoint": "/v1/moderations"}, 400, "endpoint"),
        ({"completion_window": "1h"}, 400, "completion_window"),
        ({"input_file_id": "file-unknown"}, 404, "input_file_id"),
        ({"metadata": {"k": "v" * 600}}, 400, "metadata"),
        ({"metadata": {"k": 1}}, 400, "metadata[...]"),
        ({"output_expires_after": {"anchor": "created_at", "seconds": 3600}}, 400, "output_expires_after"),
    ],
)
def test_a_batch_that_cannot_be_is_refused(
    sdk: openai.OpenAI, http: httpx2.Client, change: dict[str, Any], status: int, param: str
) -> None:
    asked = {"input_file_id": upload(sdk, [line("a")]), "endpoint": CHAT, "completion_window": "24h", **change}
    answer = http.post("/v1/batches", json=asked)
    assert answer.status_code == status and answer.json()["error"]["param"] == param


def test_a_file_of_another_purpose_is_refused(sdk: openai.OpenAI) -> None:
    other = sdk.files.create(file=("a", b"{}"), purpose="user_data")
    with pytest.raises(openai.BadRequestError, match="purpose"):
        sdk.batches.create(input_file_id=other.id, endpoint=CHAT, completion_window="24h")


def test_a_file_without_lines_fails(sdk: openai.OpenAI) -> None:
    done = ended(sdk, begin(sdk, b"\n\r\n  \n"))
    assert done.status == "failed" and done.failed_at
    assert done.errors is not None and done.errors.data is not None and done.errors.data[0].code == "empty_file"


def test_the_input_of_an_unfinished_batch_cannot_be_deleted(sdk: openai.OpenAI) -> None:
    batch = begin(sdk, [line(f"r{n}", **question(n) | {"ignore_eos": True, "max_tokens": 500}) for n in range(40)])
    with pytest.raises(openai.BadRequestError, match="still reads"):
        sdk.files.delete(batch.input_file_id)
    sdk.batches.cancel(batch.id)
    ended(sdk, batch)
    assert sdk.files.delete(batch.input_file_id).deleted


def test_the_batch_of_a_revoked_key_asks_nothing_more(service: Running) -> None:
    name = new_name()
    headers = bearer(new_key(service, name))
    with openai.OpenAI(base_url=service.url + "/v1", api_key=headers["authorization"].split()[1]) as mate:
        endless = {"messages": question(1)["messages"], "ignore_eos": True, "max_tokens": 1500}
        batch = begin(mate, [line(f"r{n}", **endless) for n in range(1000)])
        wait_for(lambda: mate.batches.retrieve(batch.id).status == "in_progress", 10)
    store(service).revoke(name)
    with service.client(headers=service.admin) as client:

        def is_idle() -> bool:
            return client.get("/admin/status").json()["models"][0]["stats"]["running"] == 0

        wait_for(is_idle, 60)
