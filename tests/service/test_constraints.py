"""Constraints over the routes: JSON that ended is valid, phrases do not come, what goes round is cut and says so."""

from __future__ import annotations

import itertools
import json
from typing import Any

import anthropic
import jsonschema
import openai
import pytest

from tests.engine.test_composition import HOT
from tests.engine.test_grammar import SCHEMAS
from tests.service.running import Running

QUESTION: Any = [{"role": "user", "content": "Fill in the JSON: Mia is 7 years old."}]
STORY: Any = [{"role": "user", "content": "Tell me a story about a fox named Pip."}]
ROUND = {"repetition_detection": {"max_pattern_size": 1, "min_count": 3}, "logit_bias": {"300": 100}}
#: Routes of OpenAI take temperatures up to 2.
ALLOWED = [hot for hot in HOT if hot.get("temperature", 0) <= 2]


@pytest.mark.parametrize(("place", "hot"), list(enumerate(ALLOWED)))
def test_a_chat_s_json_is_valid_or_says_that_it_was_cut(sdk: openai.OpenAI, place: int, hot: dict[str, Any]) -> None:
    ends = set()
    for seed, limit in itertools.product((place, place + 100), (6, 120)):
        schema = SCHEMAS[(place + seed) % len(SCHEMAS)]
        form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
        more = hot | {"max_tokens": max(limit, hot.get("min_tokens", 0)), "seed": seed}
        try:
            answer = sdk.chat.completions.create(
                model="demo",
                messages=QUESTION,
                response_format=form,  # type: ignore[arg-type]
                extra_body=more,
            )
        except openai.BadRequestError as refused:
            assert refused.param == "banned_phrases"
            continue
        (choice,) = answer.choices
        ends.add(choice.finish_reason)
        if choice.finish_reason == "stop":
            jsonschema.validate(json.loads(choice.message.content or ""), schema)
    assert ends <= {"stop", "length"}


def test_a_stream_shows_nothing_that_is_taken_back(sdk: openai.OpenAI) -> None:
    asked = {"seed": 3, "max_tokens": 40, "banned_phrases": ["once upon", "a fox", "named"]}
    whole = sdk.chat.completions.create(model="demo", messages=STORY, extra_body=asked)
    with sdk.chat.completions.create(model="demo", messages=STORY, extra_body=asked, stream=True) as stream:
        text = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    assert text == whole.choices[0].message.content
    assert not any(phrase in text.lower() for phrase in asked["banned_phrases"])  # type: ignore[union-attr]


def test_a_text_that_goes_round_is_cut_and_no_client_takes_it_for_a_whole_one(
    sdk: openai.OpenAI, service: Running
) -> None:
    chat = sdk.chat.completions.create(model="demo", messages=STORY, extra_body=ROUND).choices[0]
    completion = sdk.completions.create(model="demo", prompt="Once", extra_body=ROUND).choices[0]
    for choice in (chat, completion):
        assert (choice.finish_reason, (choice.model_extra or {})["stop_reason"]) == ("length", "repetition")
    response = sdk.responses.create(model="demo", input="Tell me a story.", extra_body=ROUND)
    assert response.status == "incomplete"
    with anthropic.Anthropic(base_url=service.url, api_key="none", max_retries=0) as client:
        message = client.messages.create(model="demo", messages=STORY, max_tokens=50, extra_body=ROUND)
    assert message.stop_reason == "max_tokens"


def test_what_leaves_nothing_is_refused_by_name(sdk: openai.OpenAI) -> None:
    asked = {"structured_outputs": {"choice": ["abc"]}, "banned_phrases": ["bc"]}
    with pytest.raises(openai.BadRequestError, match="fewer of them") as refused:
        sdk.completions.create(model="demo", prompt="Once", extra_body=asked)
    assert refused.value.param == "banned_phrases"
