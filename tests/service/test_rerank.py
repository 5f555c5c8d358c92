"""`/v1/rerank`: documents by their likeness to a query."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from tests.service.conftest import ENCODER

QUERY = "Where do cats sleep?"
DOCUMENTS = ["Interest rates rose in March.", "Kittens nap on warm rugs.", "The train to Oslo is late."]


def rerank(http: httpx2.Client, path: str = "/v1/rerank", **fields: Any) -> dict[str, Any]:
    answer = http.post(path, json={"model": ENCODER, "query": QUERY, "documents": DOCUMENTS} | fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(http: httpx2.Client, **fields: Any) -> dict[str, Any]:
    answer = http.post("/v1/rerank", json={"model": ENCODER, "query": QUERY, "documents": DOCUMENTS} | fields)
    assert answer.status_code == 400, answer.text
    return answer.json()["error"]


def test_the_document_that_answers_comes_first(pair_http: httpx2.Client) -> None:
    answer = rerank(pair_http)
    assert answer["results"][0]["index"] == 1
    scores = [result["relevance_score"] for result in answer["results"]]
    assert scores == sorted(scores, reverse=True) and all(-1 <= score <= 1 for score in scores)
    assert [r["document"]["text"] for r in answer["results"]] == [DOCUMENTS[r["index"]] for r in answer["results"]]
    assert answer["id"].startswith("rerank-") and answer["usage"]["total_tokens"] > 20


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank", "/rerank"])
def test_every_client_s_path_is_the_same_route(pair_http: httpx2.Client, path: str) -> None:
    assert rerank(pair_http, path)["results"] == rerank(pair_http)["results"]


@pytest.mark.parametrize(("top_n", "expected"), [(1, 1), (2, 2), (3, 3), (99, 3), (0, 3), (None, 3)])
def test_top_n_keeps_the_best(pair_http: httpx2.Client, top_n: int | None, expected: int) -> None:
    assert rerank(pair_http, top_n=top_n)["results"] == rerank(pair_http)["results"][:expected]


def test_documents_may_be_objects_and_need_not_come_back(pair_http: httpx2.Client) -> None:
    objects = [{"text": text} for text in DOCUMENTS]
    answer = rerank(pair_http, documents=objects, return_documents=False)
    assert all(sorted(result) == ["index", "relevance_score"] for result in answer["results"])
    assert [r["index"] for r in answer["results"]] == [r["index"] for r in rerank(pair_http)["results"]]


def test_where_one_model_is_served_it_need_not_be_named(http: httpx2.Client, pair_http: httpx2.Client) -> None:
    unnamed = {"query": QUERY, "documents": DOCUMENTS}
    assert http.post("/rerank", json=unnamed).json()["model"] == "demo"
    error = pair_http.post("/rerank", json=unnamed).json()["error"]
    assert error["param"] == "model" and ENCODER in error["message"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"documents": []}, "documents"),
        ({"documents": ["a", ""]}, "documents"),
        ({"documents": "a"}, "documents"),
        ({"documents": [{"title": "a"}]}, "documents[0].text"),
        ({"documents": ["a"] * 2049}, "documents"),
        ({"documents": ["word " * 600]}, "documents"),
        ({"query": ""}, "query"),
        ({"query": None}, "query"),
        ({"top_n": -1}, "top_n"),
        ({"max_tokens_per_doc": 10}, "max_tokens_per_doc"),
        ({"rank_fields": ["title"]}, "rank_fields"),
    ],
)
def test_what_is_wrong_is_named(pair_http: httpx2.Client, fields: dict[str, Any], param: str) -> None:
    assert refused(pair_http, **fields)["param"] == param
