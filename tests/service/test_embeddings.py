"""`/v1/embeddings` as its clients use it: the bundled decoder, and an encoder beside it."""

from __future__ import annotations

import base64
from typing import Any

import httpx2
import numpy as np
import openai
import pytest

from aphrodite_engine.llm import LLM
from tests.service.conftest import ENCODER

TEXTS = ["A cat sat on the mat.", "A kitten rests on a rug.", "Interest rates rose in March."]


def embed(http: httpx2.Client, **fields: Any) -> dict[str, Any]:
    answer = http.post("/v1/embeddings", json={"model": "demo", "input": TEXTS} | fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


def rows(answer: dict[str, Any]) -> np.ndarray:
    return np.array([item["embedding"] for item in answer["data"]], dtype=np.float32)


def refused(http: httpx2.Client, **fields: Any) -> dict[str, Any]:
    answer = http.post("/v1/embeddings", json={"model": "demo", "input": TEXTS} | fields)
    assert answer.status_code == 400, answer.text
    return answer.json()["error"]


def test_vectors_from_openai_s_own_client_are_those_of_the_engine_here(sdk: openai.OpenAI) -> None:
    answer = sdk.embeddings.create(model="demo", input=TEXTS)  # the client asks for base64 and decodes it
    with LLM("demo", kv_cache_memory=2**24) as llm:
        expected, counts = llm.embed(TEXTS), [len(llm.tokenize(text)) for text in TEXTS]
    assert [item.index for item in answer.data] == [0, 1, 2]
    assert np.array_equal(np.array([item.embedding for item in answer.data], dtype=np.float32), expected)
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == sum(counts)


def test_base64_is_little_endian_float32_of_the_same_numbers(http: httpx2.Client) -> None:
    encoded = embed(http, encoding_format="base64")["data"]
    decoded = [np.frombuffer(base64.b64decode(item["embedding"]), "<f4") for item in encoded]
    assert np.array_equal(np.stack(decoded), rows(embed(http, encoding_format="float")))
    assert np.array_equal(np.stack(decoded), rows(embed(http)))


def test_texts_and_ids_one_or_many_are_the_same_inputs(http: httpx2.Client) -> None:
    tokens = [http.post("/tokenize", json={"prompt": text}).json()["tokens"] for text in TEXTS]
    expected = rows(embed(http))
    assert np.array_equal(rows(embed(http, input=tokens)), expected)
    assert np.array_equal(rows(embed(http, input=TEXTS[1])), expected[1:2])
    assert np.array_equal(rows(embed(http, input=tokens[2])), expected[2:])
    assert np.array_equal(rows(embed(http, input=[TEXTS[0], tokens[1]])), expected[:2])


def test_dimensions_keep_the_first_numbers_at_length_1(http: httpx2.Client) -> None:
    whole, short = rows(embed(http)), rows(embed(http, dimensions=64))
    kept = whole[:, :64] / np.linalg.norm(whole[:, :64], axis=1, keepdims=True)
    assert short.shape == (3, 64) and np.allclose(short, kept, atol=1e-6)
    assert np.array_equal(rows(embed(http, dimensions=256)), whole)
    assert "1 to 256" in refused(http, dimensions=257)["message"]
    assert refused(http, dimensions=0)["param"] == "dimensions"


def test_pooling_and_length_can_be_chosen(http: httpx2.Client) -> None:
    mean = rows(embed(http, pooling="mean", normalize=False))
    assert not np.allclose(np.linalg.norm(mean, axis=1), 1)
    assert np.allclose(rows(embed(http, pooling="mean")), mean / np.linalg.norm(mean, axis=1, keepdims=True), atol=1e-6)
    assert refused(http, pooling="cls")["param"] == "pooling"


@pytest.mark.parametrize(
    "value",
    ["", ["a", ""], [], [[]], [[1], []], ["a"] * 2049, [1, "a"], [1.5], [True], [-1], [4096], [[4096]], None, 7],
)
def test_inputs_of_no_known_form_are_refused_by_name(http: httpx2.Client, value: Any) -> None:
    error = refused(http, input=value)
    assert error["param"].startswith("input")


def test_an_input_that_does_not_fit_is_named(http: httpx2.Client) -> None:
    error = refused(http, input=["short", "long " * 3000])
    assert error["code"] == "context_length_exceeded" and error["param"] == "input"


def test_an_unknown_format_is_refused(http: httpx2.Client) -> None:
    assert refused(http, encoding_format="hex")["param"] == "encoding_format"


def test_many_inputs_come_back_in_order(http: httpx2.Client) -> None:
    texts = [f"number {number}" for number in range(300)]
    found = rows(embed(http, input=texts))
    for place in (0, 137, 299):
        assert np.array_equal(found[place : place + 1], rows(embed(http, input=texts[place])))


# ---- an encoder beside the bundled model


def test_an_encoder_knows_what_is_alike(pair_sdk: openai.OpenAI) -> None:
    answer = pair_sdk.embeddings.create(model=ENCODER, input=TEXTS)
    vectors = np.array([item.embedding for item in answer.data])
    assert vectors.shape == (3, 384) and np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    cosines = vectors @ vectors.T
    assert cosines[0, 1] > cosines[0, 2] + 0.2
    assert len(pair_sdk.embeddings.create(model="demo", input="the other model").data[0].embedding) == 256


def test_an_encoder_cannot_complete(pair_sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="encoder") as caught:
        pair_sdk.completions.create(model=ENCODER, prompt="Once")
    assert caught.value.param == "model"


def test_an_encoder_refuses_what_is_over_its_length(pair_http: httpx2.Client) -> None:
    error = refused(pair_http, model=ENCODER, input="word " * 600)
    assert error["code"] == "context_length_exceeded" and "512" in error["message"]
