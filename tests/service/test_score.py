"""`/v1/score`: how alike are texts?"""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from aphrodite_engine.llm import LLM
from tests.service.conftest import ENCODER

CAT, KITTEN, RATES = "A cat sat on the mat.", "A kitten rests on a rug.", "Interest rates rose in March."


def score(http: httpx2.Client, text_1: Any, text_2: Any, path: str = "/v1/score", model: str = ENCODER) -> list[float]:
    answer = http.post(path, json={"model": model, "text_1": text_1, "text_2": text_2})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["object"] == "list" and body["usage"]["prompt_tokens"] > 0
    assert [(item["index"], item["object"]) for item in body["data"]] == [
        (i, "score") for i in range(len(body["data"]))
    ]
    return [item["score"] for item in body["data"]]


def test_likeness_is_a_cosine(pair_http: httpx2.Client) -> None:
    alike, different = score(pair_http, CAT, [KITTEN, RATES])
    assert 1 > alike > different + 0.2
    assert score(pair_http, CAT, CAT) == pytest.approx([1.0], abs=1e-5)
    assert score(pair_http, CAT, KITTEN, "/score") == [alike]


def test_lists_of_one_length_are_compared_pair_by_pair(pair_http: httpx2.Client) -> None:
    pairs = score(pair_http, [CAT, RATES], [KITTEN, CAT])
    assert pairs == pytest.approx([*score(pair_http, CAT, KITTEN), *score(pair_http, RATES, CAT)], abs=1e-6)
    assert score(pair_http, [CAT], [KITTEN]) == score(pair_http, CAT, KITTEN)


def test_scores_are_those_of_the_engine_here(http: httpx2.Client) -> None:
    with LLM("demo", kv_cache_memory=2**24) as llm:
        expected = llm.score(CAT, [KITTEN, RATES])
    assert score(http, CAT, [KITTEN, RATES], model="demo") == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"text_1": [CAT, KITTEN], "text_2": [CAT, KITTEN, RATES]}, "text_1"),
        ({"text_1": [CAT, KITTEN], "text_2": CAT}, "text_1"),
        ({"text_2": []}, "text_2"),
        ({"text_2": ["a"] * 1025}, "text_2"),
        ({"text_1": ""}, "text_1"),
        ({"text_2": ["a", ""]}, "text_2"),
        ({"text_1": 7}, "text_1"),
        ({"truncate_prompt_tokens": 5}, "truncate_prompt_tokens"),
    ],
)
def test_what_is_wrong_is_named(pair_http: httpx2.Client, fields: dict[str, Any], param: str) -> None:
    answer = pair_http.post("/v1/score", json={"model": ENCODER, "text_1": CAT, "text_2": KITTEN} | fields)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param
