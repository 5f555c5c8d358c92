"""Where prompts come from: the command line, standard input, a text file or JSON lines."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aphrodite_apps.cli.command import UsageError


@dataclass(frozen=True)
class Prompt:
    """One thing to answer: a text, token ids, or a conversation; with sampling fields of its own."""

    content: Any  # str, list[int], or a list of messages; the engine checks it
    is_chat: bool = False
    fields: Mapping[str, Any] = field(default_factory=dict)


def from_text(text: str, chat: bool, system: str | None) -> Prompt:
    """A text as it stands, or as the user's message of a conversation."""
    if not chat:
        return Prompt(text)
    opening = [{"role": "system", "content": system}] if system else []
    return Prompt([*opening, {"role": "user", "content": text}], is_chat=True)


def read_stdin() -> str:
    """All of standard input, without the line ending that `echo` adds."""
    return _text_of("-").removesuffix("\n")


def read_lines(name: str) -> list[str]:
    """The lines of a file (`-` is standard input) that are not empty.

    Raises:
        UsageError: it cannot be read, or holds nothing.
    """
    return [line for _, line in _numbered_lines(name)]


def read_file(name: str, chat: bool, system: str | None) -> list[Prompt]:
    """One prompt a line; in a file named *.jsonl each line is a JSON string or object.

    Raises:
        UsageError: naming the file, and the line where one is wrong.
    """
    lines = _numbered_lines(name)
    if name.endswith(".jsonl"):
        return [_from_json(line, f"{name} line {number}", chat, system) for number, line in lines]
    return [from_text(line, chat, system) for _, line in lines]


def _numbered_lines(name: str) -> list[tuple[int, str]]:
    # Not splitlines(): that would also cut at form feeds and other rare characters inside a prompt.
    text = _text_of(name).replace("\r\n", "\n")
    lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    if not lines:
        raise UsageError(f"{name} holds no text")
    return lines


def _text_of(name: str) -> str:
    shown = "standard input" if name == "-" else name
    try:
        return sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot read {shown}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{shown} is not UTF-8 text: {error}") from error


def _from_json(line: str, place: str, chat: bool, system: str | None) -> Prompt:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise UsageError(f"{place} is not JSON: {error}") from error
    if isinstance(value, str):
        return from_text(value, chat, system)
    if not isinstance(value, dict) or ("prompt" in value) == ("messages" in value):
        raise UsageError(f'{place} must be a string, or an object with either "prompt" or "messages"')
    fields = {name: _keys_as_ids(item) for name, item in value.items() if name not in ("prompt", "messages")}
    if "messages" in value:
        return Prompt(value["messages"], is_chat=True, fields=fields)
    prompt = value["prompt"]
    if isinstance(prompt, str):
        return Prompt(from_text(prompt, chat, system).content, chat, fields)
    if isinstance(prompt, list) and all(isinstance(item, int) for item in prompt):
        return Prompt(prompt, fields=fields)
    raise UsageError(f'{place}: "prompt" must be a string or a list of token ids')


def _keys_as_ids(value: Any) -> Any:
    """JSON has only strings as keys; logit_bias wants ids."""
    if isinstance(value, dict) and all(key.isdigit() for key in value):
        return {int(key): item for key, item in value.items()}
    return value
