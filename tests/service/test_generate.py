"""`/generate` and `/render`: the engine's own terms over plain HTTP."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest

QUESTION = [{"role": "user", "content": "What is 39 + 48?"}]


def test_an_answer_has_all_there_is(http: httpx2.Client) -> None:
    fields = {"messages": QUESTION, "temperature": 0, "seed": 5, "logprobs": 2, "prompt_logprobs": 1}
    answer = http.post("/generate", json=fields).json()
    (output,) = answer["outputs"]
    assert output["text"] == "87" and output["finish_reason"] == "stop" and output["seed"] == 5
    assert answer["prompt"].endswith("<|assistant|>") and len(answer["prompt_token_ids"]) == len(
        answer["prompt_logprobs"]
    )
    first = output["logprobs"][0][0]
    assert first["token_id"] == output["token_ids"][0] and first["rank"] == 1 and first["logprob"] <= 0
    assert answer["model"] == "demo" and answer["system_fingerprint"].startswith("fp_")
    assert answer["timing"]["total_ms"] > 0


def test_pieces_join_to_the_whole(http: httpx2.Client) -> None:
    fields = {"prompt": "Once upon a time", "seed": 5, "max_tokens": 20, "n": 2}
    whole = http.post("/generate", json=fields).json()
    events = http.post("/generate", json=fields | {"stream": True}).text.split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    pieces = [json.loads(event.removeprefix("data: ")) for event in events[:-2]]
    for output in whole["outputs"]:
        mine = [piece for piece in pieces if piece["index"] == output["index"]]
        assert "".join(piece.get("text", "") for piece in mine) == output["text"]
        assert [i for piece in mine for i in piece.get("token_ids", ())] == output["token_ids"]
        assert mine[-1]["finish_reason"] == output["finish_reason"]


def test_a_conversation_is_rendered(http: httpx2.Client) -> None:
    answer = http.post("/render", json={"messages": QUESTION, "template": {"add_generation_prompt": False}}).json()
    assert answer["prompt"].endswith("<|turn_end|>")
    assert http.post("/detokenize", json={"tokens": answer["token_ids"]}).json()["prompt"] == answer["prompt"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "prompt"),
        ({"prompt": "a", "messages": QUESTION}, "prompt"),
        ({"prompt": "a", "template": {"tools": []}}, "template"),
        ({"messages": []}, "messages"),
        ({"prompt": [2**70]}, "prompt"),
        ({"prompt": [True]}, "prompt"),
        ({"prompt": "a", "temperature": 101}, "temperature"),
        ({"prompt": "a", "logprobs": 21}, "logprobs"),
        ({"prompt": "a", "prompt_logprobs": -1}, "prompt_logprobs"),
        ({"prompt": "a", "priority": 2**40}, "priority"),
        ({"prompt": "a", "cache_salt": "x" * 257}, "cache_salt"),
        ({"messages": QUESTION, "template": {"priority": 1}}, "template"),
        ({"messages": QUESTION, "template": {"messages": []}}, "template"),
        ({"messages": QUESTION, "template": {"__class__": 1}}, "template"),
        ({"messages": QUESTION, "template": {"bos_token": "x"}}, "messages"),
    ],
)
def test_a_wrong_field_is_named(http: httpx2.Client, fields: dict[str, Any], param: str) -> None:
    answer = http.post("/generate", json=fields)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"].startswith(param)
