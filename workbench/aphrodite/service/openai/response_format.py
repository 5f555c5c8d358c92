"""What form an answer shall have: OpenAI's `response_format`, our `structured_outputs`, vLLM's old names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from aphrodite.service.errors import bad_request
from aphrodite.service.openai.sampling import SamplingFields
from aphrodite.service.turn.json_schema import check_schema

_OLD_NAMES = {
    "guided_json": "json",
    "guided_regex": "regex",
    "guided_choice": "choice",
    "guided_grammar": "grammar",
}


class JsonSchema(msgspec.Struct):
    """`strict` changes nothing: the schema is followed in any case."""

    name: Annotated[str, Meta(pattern="^[A-Za-z0-9_-]{1,64}$")]
    schema: dict[str, Any]
    description: str | None = None
    strict: bool | None = None


class ResponseFormat(msgspec.Struct):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class FormatFields(SamplingFields, kw_only=True):
    """The fields that say it, beside `structured_outputs`, which is a sampling field."""

    response_format: ResponseFormat | None = None
    guided_json: dict[str, Any] | str | None = None
    guided_regex: str | None = None
    guided_choice: list[str] | None = None
    guided_grammar: str | None = None


@dataclass(frozen=True)
class AskedForm:
    """The engine's structured_outputs, and the field that asks for them."""

    field: str
    outputs: dict[str, Any]


def structured_outputs_of(fields: FormatFields) -> AskedForm | None:
    """What the request asks for; None where it leaves the form to the model.

    Raises:
        ApiError: 400 where two ask, or the schema is none.
    """
    asked: dict[str, dict[str, Any]] = {
        name: {kind: value} for name, kind in _OLD_NAMES.items() if (value := getattr(fields, name)) is not None
    }
    if fields.structured_outputs is not None:
        asked["structured_outputs"] = fields.structured_outputs
    form = fields.response_format
    if form is not None and form.type != "text":
        asked["response_format"] = _from_response_format(form)
    if len(asked) > 1:
        names = " and ".join(sorted(asked))
        raise bad_request(f"{names}: only one of them can say what the text looks like", min(asked), "invalid_value")
    return next((AskedForm(field, outputs) for field, outputs in asked.items()), None)


def _from_response_format(form: ResponseFormat) -> dict[str, Any]:
    if form.type == "json_object":
        return {"json_object": True}
    if form.json_schema is None:
        field = "response_format.json_schema"
        raise bad_request(f"{field} is missing", field, "missing_required_parameter")
    check_schema(form.json_schema.schema, "response_format.json_schema.schema")
    return {"json": form.json_schema.schema}
