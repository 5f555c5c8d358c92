"""A conversation that later cells go on with, as `%aphrodite chat` shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any


class Conversation(Sequence[Mapping[str, Any]]):
    """The messages so far, each with its role and content."""

    def __init__(self, messages: Sequence[Mapping[str, Any]]) -> None:
        self.messages = list(messages)

    def __getitem__(self, index: Any) -> Any:
        return self.messages[index]

    def __len__(self) -> int:
        return len(self.messages)

    def __repr__(self) -> str:
        lines = [f"{message['role']}: {message['content']}" for message in self.messages]
        return "\n".join(lines) or "nothing was said yet"

    def _repr_html_(self) -> str:
        rows = [
            f'<div style="margin:.3em 0"><b>{escape(message["role"])}</b> '
            f'<span style="white-space:pre-wrap">{escape(str(message["content"]))}</span></div>'
            for message in self.messages
        ]
        return "".join(rows) or "<i>nothing was said yet</i>"
