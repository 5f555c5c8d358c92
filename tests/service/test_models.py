"""`/v1/models`: which models are served, under which names."""

from __future__ import annotations

import httpx2
import openai
import pytest

from tests.service.conftest import ENCODER


def test_the_served_model_is_listed(sdk: openai.OpenAI) -> None:
    (model,) = sdk.models.list().data
    assert (model.id, model.object, model.owned_by) == ("demo", "model", "aphrodite")
    assert model.created > 1.7e9
    assert sdk.models.retrieve("demo") == model


def test_every_served_name_is_listed_with_the_model_behind_it(pair_http: httpx2.Client) -> None:
    listed = pair_http.get("/v1/models").json()
    assert listed["object"] == "list"
    roots = {model["id"]: (model["root"], model["max_model_len"]) for model in listed["data"]}
    demo = ("demo", 2048)
    expected = {"demo": demo, "acme/demo": demo, "acme/demo mini": demo, ENCODER: (ENCODER, 512)}
    assert roots.items() >= expected.items()


@pytest.mark.parametrize("name", ["demo", "acme/demo", "acme/demo mini", ENCODER])
def test_ids_with_slashes_and_spaces_are_found(pair_sdk: openai.OpenAI, name: str) -> None:
    assert pair_sdk.models.retrieve(name).id == name


@pytest.mark.parametrize("path", ["acme/demo", "acme%2Fdemo", "acme/demo%20mini"])
def test_ids_are_found_as_they_are_written_in_addresses(pair_http: httpx2.Client, path: str) -> None:
    assert pair_http.get(f"/v1/models/{path}").json()["id"].startswith("acme/demo")


def test_every_name_answers(pair_sdk: openai.OpenAI) -> None:
    texts = {
        pair_sdk.completions.create(model=name, prompt="Once", seed=1, max_tokens=4).choices[0].text
        for name in ("demo", "acme/demo", "acme/demo mini")
    }
    assert len(texts) == 1


@pytest.mark.parametrize("name", ["gpt-9", "demo/", "acme", "Demo", "de\u00ademo"])
def test_an_unknown_id_is_not_found(pair_sdk: openai.OpenAI, name: str) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        pair_sdk.models.retrieve(name)
    assert caught.value.code == "model_not_found"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/audio/speech"),
        ("POST", "/v1/audio/transcriptions"),
        ("POST", "/v1/images/generations"),
        ("POST", "/v1/moderations"),
        ("GET", "/v1/assistants"),
        ("POST", "/v1/threads"),
        ("POST", "/v1/fine_tuning/jobs"),
        ("GET", "/v1/vector_stores"),
        ("GET", "/v2/models"),
    ],
)
def test_what_does_not_exist_is_not_found_with_an_error_object(http: httpx2.Client, method: str, path: str) -> None:
    answer = http.request(method, path, json={"model": "demo", "input": "a"} if method == "POST" else None)
    assert answer.status_code == 404
    error = answer.json()["error"]
    assert sorted(error) == ["code", "message", "param", "type"] and error["type"] == "not_found_error"
    assert path in error["message"]


def test_openai_s_client_raises_not_found_for_moderations(sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        sdk.moderations.create(input="a")
