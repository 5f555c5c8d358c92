"""A request of the page as a notebook's cell that asks for the same tokens again.

A prompt, or the first turn of a conversation, is a `%%aphrodite` cell. What such a cell cannot say (earlier turns, a
system message of several lines, spaces at a prompt's ends) is Python.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Message = Mapping[str, str]


@dataclass(frozen=True)
class Asked:
    """What was asked: a prompt, or messages.

    Attributes:
        fields: of SamplingParams that differ from neutral, with the seed that was used.
        given: ids of the output's first tokens, where those were given and not drawn.
    """

    model: str
    prompt: str | Sequence[Message]
    fields: Mapping[str, Any] = field(default_factory=dict)
    given: tuple[int, ...] = ()


def notebook_cell(asked: Asked) -> str:
    """The cell's source."""
    found = _parts(asked.prompt)
    if found is None or asked.given:
        return _python(asked)
    system, text, is_chat = found
    is_raw = "{{" in text
    words = [*(["-m", asked.model] if asked.model else []), "--preset", "neutral"]
    words += [f"--system={system}"] if system else ["--chat"] if is_chat else []
    for name, value in asked.fields.items():
        words += _flag(name, value)
    flags = shlex.join([*words, *(["--raw"] if is_raw else [])])
    return f"%%aphrodite {flags}\n{text}"


def _parts(prompt: str | Sequence[Message]) -> tuple[str, str, bool] | None:
    """System message, text, whether it is a chat; None where a `%%aphrodite` cell cannot say it."""
    if isinstance(prompt, str):
        return ("", prompt, False) if prompt and prompt == prompt.strip() else None
    *before, last = prompt
    text = last["content"]
    system = before[0]["content"] if before and before[0]["role"] == "system" else ""
    is_first = len(before) == bool(system) and last["role"] == "user"
    return (system, text, True) if is_first and "\n" not in system and text and text == text.strip() else None


def _flag(name: str, value: Any) -> list[str]:
    flag = "--" + name.replace("_", "-")
    if isinstance(value, bool):
        return [flag if value else "--no-" + flag[2:]]
    if isinstance(value, (int, float)):
        return [f"{flag}={value!r}"] if value < 0 else [flag, repr(value)]
    if value is None:
        return [flag, "none"]
    if isinstance(value, str) and "\n" not in value:
        return [f"{flag}={value}"]
    return ["-p", f"{name}={json.dumps(_plain(value), ensure_ascii=False)}"]


def _plain(value: Any) -> Any:
    return {str(key): item for key, item in value.items()} if isinstance(value, Mapping) else value


def _messages(messages: Sequence[Message]) -> str:
    return "[\n" + "".join(f"    {dict(message)!r},\n" for message in messages) + "]"


def _python(asked: Asked) -> str:
    call = "generate" if isinstance(asked.prompt, str) else "chat"
    prompt = repr(asked.prompt) if isinstance(asked.prompt, str) else _messages(asked.prompt)
    fields = "".join(f"        {name}={value!r},\n" for name, value in asked.fields.items())
    names = "import aphrodite\n"
    if asked.given:
        names += "from aphrodite_engine.prompts import Continuation\n"
        fields += f"        continuation=Continuation({asked.given}),\n"
    return (
        f"{names}\n"
        f"prompt = {prompt}\n"
        "with aphrodite.connect() as session:\n"
        f"    found = session.{call}(\n"
        f"        prompt,\n        model={asked.model or None!r},\n{fields}"
        "    )[0]\n"
        "print(found.text)"
    )
