"""FAULTS 6 to 14: numbers, prompts, ids and lists that are wrong or far too many.

A refusal names its field and takes no time; after each the service answers the next good request.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests.service.leaks import LEAK
from tests.service.running import Running

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
ROUTES = pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
ASKED: dict[str, dict[str, Any]] = {
    CHAT: {"messages": [{"role": "user", "content": "What is 39 + 48?"}], "max_tokens": 4},
    COMPLETIONS: {"prompt": "Once upon a time", "max_tokens": 4},
}


@pytest.fixture(autouse=True)
def _answers_the_next_request(http: httpx2.Client) -> Iterator[None]:
    yield
    answer = http.post(COMPLETIONS, json={"model": "demo", "prompt": "Once", "max_tokens": 1})
    assert answer.status_code == 200


@pytest.fixture(scope="module", autouse=True)
def _nothing_leaks_into_the_log(service: Running) -> Iterator[None]:
    yield
    assert "Traceback" not in service.log


def text_for(path: str, text: str) -> dict[str, Any]:
    return {"prompt": text} if path == COMPLETIONS else {"messages": [{"role": "user", "content": text}]}


def ask(http: httpx2.Client, path: str, **fields: Any) -> httpx2.Response:
    # By hand: the client's own encoder refuses what some of these tests send.
    body = json.dumps({"model": "demo"} | ASKED[path] | fields).encode("utf-8", "surrogatepass")
    return http.post(path, content=body, headers={"content-type": "application/json"})


def refused(answer: httpx2.Response, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    """The error, once it is a 400 with all four keys that names its field and shows nothing of ours."""
    assert answer.status_code == 400, answer.text[:300]
    error = answer.json()["error"]
    assert sorted(error) == ["code", "message", "param", "type"] and error["type"] == "invalid_request_error"
    assert not LEAK.search(error["message"]) and len(error["message"]) < 500
    if param is not None:
        assert error["param"] is not None and error["param"].startswith(param) and param in error["message"]
    if code is not None:
        assert error["code"] == code
    return error


def refused_quickly(http: httpx2.Client, path: str, param: str, **fields: Any) -> None:
    """Refused within 50 ms on the server's own clock; the best of a few, since other programs run here too."""
    times = []
    for _ in range(5):
        answer = ask(http, path, **fields)
        refused(answer, param)
        times.append(float(answer.headers["x-process-time"]))
        if times[-1] < 0.05:
            return
    raise AssertionError(f"took {min(times):.3f} s at best")


@ROUTES
@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400", "-1e400", '"NaN"', "nan", "1e309"])
def test_fault_06_a_temperature_that_is_no_finite_number(http: httpx2.Client, path: str, number: str) -> None:
    body = json.dumps({"model": "demo"} | ASKED[path])[:-1] + f', "temperature": {number}}}'
    refused(http.post(path, content=body.encode(), headers={"content-type": "application/json"}))


EVERYWHERE: list[tuple[str, Any]] = [
    *(("n", value) for value in (0, -1, 10**9, 2**63, 257, 1.5, True, "2")),
    *(("max_tokens", value) for value in (-1, 2**63, 10**30, 1.5, False, "10")),
    *(("seed", value) for value in (2**63, -1, 2**64, 0.5)),
    *(("temperature", value) for value in (-0.1, 2.1, 1e300, True, "hot")),
    *(("top_p", value) for value in (0, -1, 1.1, 2**63)),
    *(("top_k", value) for value in (-2, 2**63, 0.5)),
    *(("min_p", value) for value in (-0.1, 1.1)),
    *(("frequency_penalty", value) for value in (-2.1, 2.1)),
    *(("presence_penalty", value) for value in (-2.1, 2.1)),
    *(("repetition_penalty", value) for value in (0, -1, 1e9)),
    *(("min_tokens", value) for value in (-1, 2**63)),
    *(("prompt_logprobs", value) for value in (-1, 21, 2**63)),
    *(("stop_token_ids", value) for value in ([-1], [2**70], [1.5], [1] * 2000)),
    *(("allowed_token_ids", value) for value in ([], [-1], [True])),
]


@ROUTES
@pytest.mark.parametrize(("field", "value"), EVERYWHERE)
def test_fault_07_a_number_out_of_range(http: httpx2.Client, path: str, field: str, value: Any) -> None:
    refused_quickly(http, path, field, **{field: value})


@pytest.mark.parametrize("value", [21, -1, 2**63, 1.5, True])
def test_fault_07_top_logprobs_out_of_range(http: httpx2.Client, value: Any) -> None:
    refused_quickly(http, CHAT, "top_logprobs", logprobs=True, top_logprobs=value)


@pytest.mark.parametrize(
    ("field", "value"), [("logprobs", 6), ("logprobs", -1), ("best_of", 0), ("best_of", 257), ("best_of", 2**63)]
)
def test_fault_07_numbers_of_completions_out_of_range(http: httpx2.Client, field: str, value: int) -> None:
    refused_quickly(http, COMPLETIONS, field, **{field: value})


@pytest.mark.parametrize("fields", [{"n": 2, "best_of": 1}, {"n": 256, "best_of": 255}])
def test_fault_08_best_of_below_n(http: httpx2.Client, fields: dict[str, int]) -> None:
    refused_quickly(http, COMPLETIONS, "best_of", **fields)


@pytest.mark.parametrize("prompt", [[], [[]], [[], [1]], ["a"] * 10**5, [[1]] * 10**5])
def test_fault_09_no_prompt_or_too_many(http: httpx2.Client, prompt: list[Any]) -> None:
    refused(ask(http, COMPLETIONS, prompt=prompt), "prompt")


def test_fault_09_an_empty_text_starts_from_the_begin_token(http: httpx2.Client) -> None:
    answer = ask(http, COMPLETIONS, prompt="")
    assert answer.status_code == 200 and answer.json()["usage"]["prompt_tokens"] == 1


def test_fault_09_an_empty_text_is_refused_where_there_is_no_begin_token(
    pair_http: httpx2.Client, byte_model: str
) -> None:
    assert ask(pair_http, COMPLETIONS, model=byte_model, prompt="a").status_code == 200
    refused(ask(pair_http, COMPLETIONS, model=byte_model, prompt=""), "prompt")


@pytest.mark.parametrize("messages", [[], None, {}, "hello", [None], [[]], [1]])
def test_fault_09_no_messages(http: httpx2.Client, messages: Any) -> None:
    refused(ask(http, CHAT, messages=messages), "messages")


@pytest.mark.parametrize(
    "ids",
    [[-1], [4096], [2**31], [2**63], [10**30], [True], [1.5], [1.0], [1, None], [[1, -1]], [[1], [4096]], [[True]]],
)
def test_fault_10_token_ids_that_are_none(http: httpx2.Client, ids: list[Any]) -> None:
    error = refused(ask(http, COMPLETIONS, prompt=ids))
    assert "prompt" in error["message"] and error["param"].startswith("prompt")


@ROUTES
@pytest.mark.parametrize("text", ["a\x00b", "\u202e\u2066evil\u2069", "\ufeff\ufffe\U000e0001", "e" + "\u0301" * 500])
def test_fault_11_strange_characters(http: httpx2.Client, path: str, text: str) -> None:
    fields: dict[str, Any] = (
        {"prompt": text} if path == COMPLETIONS else {"messages": [{"role": "user", "content": text}]}
    )
    answer = ask(http, path, **fields)
    assert answer.status_code == 200
    answer.content.decode("utf-8")


@ROUTES
@pytest.mark.parametrize("raw", [rb'"\ud800"', rb'"a\udfff\ud800b"', b'"\xed\xa0\x80"', b'"\xff\xfe"'])
def test_fault_11_half_a_character(http: httpx2.Client, path: str, raw: bytes) -> None:
    marked = json.dumps({"model": "demo"} | ASKED[path] | {"user": "HERE"}).encode()
    answer = http.post(path, content=marked.replace(b'"HERE"', raw), headers={"content-type": "application/json"})
    assert answer.status_code in (200, 400)
    answer.content.decode("utf-8")


@ROUTES
def test_fault_11_ten_megabytes_without_a_space(http: httpx2.Client, pair_http: httpx2.Client, path: str) -> None:
    text = "a" * 10**7
    fields: dict[str, Any] = (
        {"prompt": text} if path == COMPLETIONS else {"messages": [{"role": "user", "content": text}]}
    )
    answer = ask(pair_http, path, **fields)  # a service that takes such bodies
    refused(answer, code="context_length_exceeded")
    assert ask(http, path, **fields).status_code == 413  # a service of the usual limit


def test_fault_12_one_token_too_many_for_completions(http: httpx2.Client) -> None:
    assert ask(http, COMPLETIONS, prompt=[5] * 2047, max_tokens=9).json()["usage"]["completion_tokens"] == 1
    error = refused(ask(http, COMPLETIONS, prompt=[5] * 2048), "prompt", "context_length_exceeded")
    assert "2048" in error["message"]


def test_fault_12_one_token_too_many_for_chat(http: httpx2.Client) -> None:
    def messages(words: int) -> list[dict[str, str]]:
        return [{"role": "user", "content": "fox" + " fox" * words}]

    def count(words: int) -> int:
        return http.post("/tokenize", json={"model": "demo", "messages": messages(words)}).json()["count"]

    each = count(11) - count(10)
    words = 10 + (2047 - count(10)) // each
    while count(words + 1) <= 2047:
        words += 1
    assert ask(http, CHAT, messages=messages(words)).status_code == 200
    error = refused(ask(http, CHAT, messages=messages(words + 1)), code="context_length_exceeded")
    assert error["param"] == "messages" and "2048" in error["message"]


@ROUTES
@pytest.mark.parametrize(
    "bias",
    [
        {"-1": 1}, {"a": 1}, {"1.5": 1}, {"": 1}, {"4096": 1}, {str(2**63): 1}, {"1": 101}, {"1": -101}, {"1": "x"},
        {"1": None}, {"1": True}, [1], "1", {str(key): 1 for key in range(4097)},
    ],
    ids=lambda bias: str(bias)[:16],
)  # fmt: skip
def test_fault_13_a_logit_bias_that_is_none(http: httpx2.Client, path: str, bias: Any) -> None:
    refused(ask(http, path, logit_bias=bias), "logit_bias")


@ROUTES
def test_fault_13_a_million_entries_of_logit_bias(pair_http: httpx2.Client, path: str) -> None:
    answer = ask(pair_http, path, logit_bias={str(key): 1 for key in range(10**6)})
    refused(answer, "logit_bias")


@ROUTES
@pytest.mark.parametrize(
    "stop", [[str(number) for number in range(10**4)], ["a"] * 65, "", [""], ["a", ""], [1], 7, {"a": 1}],
    ids=lambda stop: str(stop)[:16],
)  # fmt: skip
def test_fault_14_stop_strings_that_are_none_or_too_many(http: httpx2.Client, path: str, stop: Any) -> None:
    refused_quickly(http, path, "stop", stop=stop)
