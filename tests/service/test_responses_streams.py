"""`/v1/responses` as a stream, down to how it ends."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import openai

from tests.service.running import Running, wait_for
from tests.service.test_responses import SETTINGS, STORY, SUM, WEATHER


def events_of(text: str) -> list[dict[str, Any]]:
    """The events of a stream; each names its type twice."""
    found = []
    for block in text.strip().split("\n\n"):
        if block.startswith(":"):
            continue
        name, data = block.split("\n")
        found.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {found[-1]['type']}"
    assert [event["sequence_number"] for event in found] == list(range(len(found)))
    return found


def running_now(service: Running) -> int:
    with service.client(headers=service.admin) as client:
        return client.get("/admin/status").json()["models"][0]["stats"]["running"]


def test_a_stream_tells_everything_in_order(http: httpx2.Client) -> None:
    asked = {"model": "demo", "input": STORY, "max_output_tokens": 12, "seed": 3, "stream": True}
    answer = http.post("/v1/responses", json=asked)
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    events = events_of(answer.text)
    names = [event["type"] for event in events]
    assert names[:4] == [
        "response.created", "response.in_progress", "response.output_item.added", "response.content_part.added",
    ]  # fmt: skip
    deltas = [event for event in events if event["type"] == "response.output_text.delta"]
    assert names[4:-4] == ["response.output_text.delta"] * len(deltas)
    assert names[-4:-1] == ["response.output_text.done", "response.content_part.done", "response.output_item.done"]
    assert names[-1] in ("response.completed", "response.incomplete")
    last = events[-1]["response"]
    assert set(last) == set(events[0]["response"]) == SETTINGS
    text = "".join(event["delta"] for event in deltas)
    assert text == events[-4]["text"] == events[-3]["part"]["text"] == last["output"][0]["content"][0]["text"]
    assert events[0]["response"]["status"] == "in_progress" and events[0]["response"]["output"] == []
    assert events[2]["item"]["content"] == [] and events[2]["item"]["status"] == "in_progress"
    assert {event["item_id"] for event in deltas} == {last["output"][0]["id"]}
    whole = http.post("/v1/responses", json={**asked, "stream": False}).json()
    assert whole["output"][0]["content"][0]["text"] == text
    assert http.get(f"/v1/responses/{last['id']}").json() == last


def test_openai_s_own_client_puts_a_stream_together(sdk: openai.OpenAI) -> None:
    with sdk.responses.stream(model="demo", input=SUM, temperature=0) as stream:
        texts = [event.snapshot for event in stream if event.type == "response.output_text.delta"]
        assert texts[-1] == "87"
        final = stream.get_final_response()
    assert final.output_text == "87" and final.usage is not None
    assert sdk.responses.retrieve(final.id).output_text == "87"


def test_a_client_that_goes_away_ends_its_response(service: Running) -> None:
    asked = {"model": "demo", "input": STORY, "stream": True, "ignore_eos": True, "max_output_tokens": 1900}
    with service.client() as client:
        with client.stream("POST", "/v1/responses", json=asked) as stream:
            lines = stream.iter_lines()
            created = json.loads([next(lines), next(lines)][1].removeprefix("data: "))
            wait_for(lambda: running_now(service) == 1, 10)
        wait_for(lambda: running_now(service) == 0, 10)
        path = f"/v1/responses/{created['response']['id']}"
        wait_for(lambda: client.get(path).status_code == 200, 5)
        assert client.get(path).json()["status"] == "cancelled"


def test_a_call_is_streamed_in_pieces(http: httpx2.Client) -> None:
    asked = {
        "model": "demo", "input": "What is the weather in Paris?", "tools": [WEATHER], "tool_choice": "required",
        "stream": True, "parallel_tool_calls": False, "max_output_tokens": 200,
    }  # fmt: skip
    events = events_of(http.post("/v1/responses", json=asked).text)
    added = next(event for event in events if event["type"] == "response.output_item.added")
    assert added["item"]["type"] == "function_call" and added["item"]["arguments"] == ""
    pieces = [event["delta"] for event in events if event["type"] == "response.function_call_arguments.delta"]
    done = next(event for event in events if event["type"] == "response.function_call_arguments.done")
    assert "".join(pieces) == done["arguments"] and isinstance(json.loads(done["arguments"])["city"], str)
    assert done["item_id"] == added["item"]["id"] and done["name"] == "get_weather"
    assert events[-1]["response"]["output"][0]["arguments"] == done["arguments"]
