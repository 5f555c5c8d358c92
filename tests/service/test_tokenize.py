"""`/tokenize` and `/detokenize`."""

from __future__ import annotations

from typing import Any

import httpx2
import openai
import pytest

MESSAGES = [{"role": "user", "content": "What is 39 + 48?"}]
TOOL = {"type": "function", "function": {"name": "clock", "parameters": {"type": "object", "properties": {}}}}


def tokenize(http: httpx2.Client, **fields: Any) -> dict[str, Any]:
    answer = http.post("/tokenize", json={"model": "demo"} | fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


def detokenize(http: httpx2.Client, tokens: list[int]) -> str:
    answer = http.post("/detokenize", json={"model": "demo", "tokens": tokens})
    assert answer.status_code == 200, answer.text
    return answer.json()["prompt"]


@pytest.mark.parametrize("text", ["Hello, world", "naïve 🦊 — 中文", "", "a\x00b", "\u202eabc", " \n\t "])
def test_a_text_comes_back(http: httpx2.Client, text: str) -> None:
    found = tokenize(http, prompt=text, add_special_tokens=False)
    assert found["count"] == len(found["tokens"]) and found["max_model_len"] == 2048
    assert detokenize(http, found["tokens"]) == text


def test_the_begin_token_is_put_in_front_unless_it_is_not_wanted(http: httpx2.Client) -> None:
    plain = tokenize(http, prompt="fox", add_special_tokens=False)["tokens"]
    assert tokenize(http, prompt="fox")["tokens"] == tokenize(http, prompt="")["tokens"] + plain


def test_the_text_of_each_token_comes_where_asked_for(http: httpx2.Client) -> None:
    found = tokenize(http, prompt="a fox ran", add_special_tokens=False, return_token_strs=True)
    assert "".join(found["token_strs"]) == "a fox ran"
    assert "token_strs" not in tokenize(http, prompt="a fox ran")


def test_a_conversation_counts_as_many_tokens_as_chat_says(http: httpx2.Client, sdk: openai.OpenAI) -> None:
    answer = sdk.chat.completions.create(model="demo", messages=MESSAGES, max_tokens=1)  # type: ignore[arg-type]
    assert answer.usage is not None
    found = tokenize(http, messages=MESSAGES)
    assert found["count"] == answer.usage.prompt_tokens
    shorter = tokenize(http, messages=MESSAGES, add_generation_prompt=False)
    assert found["tokens"][: shorter["count"]] == shorter["tokens"] and shorter["count"] < found["count"]
    assert "clock" in detokenize(http, tokenize(http, messages=MESSAGES, tools=[TOOL])["tokens"])


def test_where_one_model_is_served_it_need_not_be_named(http: httpx2.Client, pair_http: httpx2.Client) -> None:
    assert http.post("/tokenize", json={"prompt": "fox"}).status_code == 200
    assert pair_http.post("/tokenize", json={"prompt": "fox"}).json()["error"]["param"] == "model"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "prompt"),
        ({"prompt": "a", "messages": MESSAGES}, "prompt"),
        ({"prompt": 7}, "prompt"),
        ({"prompt": "a" * (2**20 + 1)}, "prompt"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "wizard", "content": "a"}]}, "messages[0].role"),
        ({"messages": MESSAGES, "add_special_tokens": True}, "add_special_tokens"),
        ({"messages": MESSAGES, "chat_template": "{{ messages }}"}, "chat_template"),
        ({"messages": MESSAGES, "continue_final_message": True}, "continue_final_message"),
        ({"messages": MESSAGES, "chat_template_kwargs": {"messages": []}}, "chat_template_kwargs"),
    ],
)
def test_what_is_wrong_is_named(http: httpx2.Client, fields: dict[str, Any], param: str) -> None:
    answer = http.post("/tokenize", json={"model": "demo"} | fields)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == param


@pytest.mark.parametrize("tokens", [[-1], [4096], [2**40], [1.5], [True], "1 2", None])
def test_ids_that_are_none_are_refused(http: httpx2.Client, tokens: Any) -> None:
    answer = http.post("/detokenize", json={"model": "demo", "tokens": tokens})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"].startswith("tokens")


def test_special_tokens_are_text_on_the_way_back(http: httpx2.Client) -> None:
    assert detokenize(http, tokenize(http, prompt="fox")["tokens"]) == "<|begin|>fox"
