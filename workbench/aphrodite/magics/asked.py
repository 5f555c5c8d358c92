"""One request, as flags and a text mean it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from aphrodite.display.shade import Shade
from aphrodite.magics.errors import UsageError
from aphrodite.magics.into import check_into
from aphrodite.magics.notebook import Message, Notebook
from aphrodite.magics.templating import fill
from aphrodite.presets import Presets
from aphrodite.sampling_flags import sampling_fields
from aphrodite_engine.params import SamplingParams

#: Alternatives asked for, so that tokens can be shaded and hovered; they change no token.
_ALTERNATIVES = 5


@dataclass(frozen=True)
class Asked:
    """One request: a prompt, or a conversation.

    Attributes:
        fields: the sampling fields that were given; `params` has the others too.
        shade: what the answer's tokens are shaded by.
    """

    prompt: str | list[Message]
    params: SamplingParams
    fields: dict[str, Any]
    model: str
    shade: Shade = "probability"

    @property
    def question(self) -> str:
        """The prompt, or of a conversation what was said last."""
        return self.prompt if isinstance(self.prompt, str) else str(self.prompt[-1]["content"])

    def with_fields(self, **changes: Any) -> Asked:
        """The same with other sampling fields.

        Raises:
            ParameterError: a field out of range.
        """
        return replace(self, params=self.params.with_fields(**changes), fields={**self.fields, **changes})


def asked(notebook: Notebook, arguments: argparse.Namespace, text: str) -> Asked:
    """From flags and text to a request.

    Raises:
        UsageError: a template that fails, a variable that is not there.
        ParameterError: a field out of range.
        PresetError: no such preset.
    """
    check_into(arguments.into)
    prompt = text if arguments.raw else fill(text, notebook.names)
    fields = {
        **Presets().read(arguments.preset or notebook.settings.preset),
        **dict(arguments.fields),
        **sampling_fields(arguments),
    }
    if arguments.schema:
        fields["structured_outputs"] = {"json": _schema(notebook, arguments.schema)}
    return Asked(
        _prompt(notebook, arguments, prompt),
        params_of(fields),
        fields,
        notebook.model(arguments.model),
        arguments.shade or notebook.settings.shade,
    )


def params_of(fields: Mapping[str, Any]) -> SamplingParams:
    """These fields, with log-probabilities to shade by.

    Raises:
        ParameterError: a field that is unknown or out of range.
    """
    return SamplingParams.from_fields({"logprobs": _ALTERNATIVES, **fields})


def _prompt(notebook: Notebook, arguments: argparse.Namespace, prompt: str) -> str | list[Message]:
    if arguments.chat is None and not arguments.system:
        return prompt
    messages = list(notebook.conversations.get(arguments.chat or "", ()))
    if arguments.system:
        messages = [{"role": "system", "content": arguments.system}, *(m for m in messages if m["role"] != "system")]
    return [*messages, {"role": "user", "content": prompt.strip()}]


def _schema(notebook: Notebook, name: str) -> Any:
    if name not in notebook.names:
        raise UsageError(f"--schema {name}: no variable of that name")
    found = notebook.names[name]
    if hasattr(found, "model_json_schema"):  # a pydantic model
        return found.model_json_schema()
    try:
        json.dumps(found)
    except (TypeError, ValueError):
        found = None
    if not isinstance(found, dict):
        kind = type(notebook.names[name]).__name__
        raise UsageError(f"--schema {name}: a JSON schema (a dict) or a pydantic model, not {kind}")
    return found
