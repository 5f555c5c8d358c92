"""How busy a service is, as a table, from two looks at what it says of itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from aphrodite.display import markdown as md

#: As /admin/status tells it.
Status = Mapping[str, Any]

_HEADER = ("model", "state", "running", "waiting", "output_tok_s", "kv_cache", "memory_mib")
_NUM_TEXTS = 2  # columns of text, to the left; numbers stand to the right
_NONE = "no model is loaded; %aphrodite load MODEL loads one"


@dataclass(frozen=True)
class ModelLoad:
    """One model's.

    Attributes:
        running, waiting: sequences that the engine computes, and that wait for it.
        kv_share: of the KV cache, how much is held, 0 to 1.
        memory_mib: of its process.
    """

    model: str
    state: str
    running: int
    waiting: int
    output_tok_s: float
    kv_share: float
    memory_mib: float

    def cells(self) -> tuple[str, ...]:
        numbers = (f"{self.output_tok_s:,.0f}", f"{100 * self.kv_share:.0f} %", f"{self.memory_mib:,.0f}")
        return (self.model, self.state, str(self.running), str(self.waiting), *numbers)


@dataclass(frozen=True)
class Load:
    """The service's, at one moment."""

    models: tuple[ModelLoad, ...]

    @property
    def output_tok_s(self) -> float:
        """Of all models."""
        return sum(model.output_tok_s for model in self.models)

    def __repr__(self) -> str:
        rows = [_HEADER, *(model.cells() for model in self.models)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(_aligned(row, widths) for row in rows) if self.models else _NONE

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return self.bundle()

    def bundle(self) -> dict[str, str]:
        """By mime type."""
        rows = [model.cells() for model in self.models]
        markdown, html = (md.table(_HEADER, rows), _html(rows)) if rows else (_NONE, f"<div>{_NONE}</div>")
        return {"text/plain": repr(self), "text/html": html, "text/markdown": markdown}


def load_of(status: Status, before: Status, seconds: float) -> Load:
    """What the two differ in came in so many seconds; a count that fell was begun anew, by a restarted engine."""
    counted = {model["id"]: model["stats"]["output_tokens"] for model in before["models"]}
    return Load(tuple(_model(model, counted.get(model["id"]), seconds) for model in status["models"]))


def _model(model: Status, counted: int | None, seconds: float) -> ModelLoad:
    stats = model["stats"]
    grown = 0 if counted is None else max(stats["output_tokens"] - counted, 0)
    return ModelLoad(
        model=model["id"],
        state=model["state"],
        running=stats["running"],
        waiting=stats["waiting"],
        output_tok_s=grown / seconds if seconds > 0 else 0.0,
        kv_share=stats["kv_blocks_used"] / stats["kv_blocks"] if stats["kv_blocks"] else 0.0,
        memory_mib=stats["resident_bytes"] / 2**20,
    )


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [f"{cell:{'<' if place < _NUM_TEXTS else '>'}{widths[place]}}" for place, cell in enumerate(row)]
    return "  ".join(cells).rstrip()


def _html(rows: Sequence[Sequence[str]]) -> str:
    head = "".join(_cell("th", place, name) for place, name in enumerate(_HEADER))
    body = "".join(f"<tr>{''.join(_cell('td', place, text) for place, text in enumerate(row))}</tr>" for row in rows)
    return f'<table style="border-collapse:collapse"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _cell(tag: str, place: int, text: str) -> str:
    side = "left" if place < _NUM_TEXTS else "right"
    return f'<{tag} style="padding:.25em .8em;text-align:{side}">{escape(text)}</{tag}>'
