"""Generations of several prompts as a table: HTML, Markdown and plain text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from aphrodite.display import markdown as md
from aphrodite.display.generation_html import footer
from aphrodite.display.live_text import LiveText
from aphrodite.display.shade import Shade
from aphrodite_engine.outputs import CompletionOutput

#: More rows nobody reads; `.df` has all.
MOST_ROWS = 50
_PROMPT_LENGTH = 120
_TEXT_LENGTH = 300

_CELL = "text-align:left;vertical-align:top;padding:.35em .7em;line-height:1.7;"
_NUMBER = f"{_CELL}text-align:right;opacity:.6;font-variant-numeric:tabular-nums"


@dataclass(frozen=True)
class Line:
    """One sequence.

    Attributes:
        number: of its generation in the list.
    """

    number: int
    prompt: str
    output: CompletionOutput
    model: str
    shade: Shade

    def label(self, several: bool) -> str:
        """Its number, and where prompts have several sequences, which of them."""
        return f"{self.number}.{self.output.index}" if several else str(self.number)


def plain(lines: Sequence[Line]) -> str:
    """Prompt and text of each, one below the other."""
    blocks = [
        f"[{label}] {_cut(line.prompt, _PROMPT_LENGTH)!r}\n{line.output.text}" for label, line in _labelled(lines)
    ]
    return "\n\n".join([*blocks, *_left_out(lines)])


def markdown(lines: Sequence[Line]) -> str:
    rows = [
        (label, _cut(line.prompt, _PROMPT_LENGTH), _cut(line.output.text, _TEXT_LENGTH),
         str(len(line.output.token_ids)), line.output.finish_reason or "")
        for label, line in _labelled(lines)
    ]  # fmt: skip
    return "\n\n".join([md.table(["", "prompt", "text", "tokens", "finish_reason"], rows), *_left_out(lines)])


def html(lines: Sequence[Line]) -> str:
    """Texts shaded as by themselves; long ones scroll."""
    head = "".join(f'<th style="{_CELL}">{name}</th>' for name in ("", "prompt", "text", "tokens", "finish_reason"))
    rows = "".join(_row(label, line) for label, line in _labelled(lines))
    below = "".join(f'<div style="opacity:.6;font-size:.85em">{escape(words)}</div>' for words in _left_out(lines))
    models = ", ".join(dict.fromkeys(line.model for line in lines))
    return (
        '<div class="aphrodite" style="overflow-x:auto"><table style="border-collapse:collapse;table-layout:auto">'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{below}"
        f"{footer([line.output for line in lines], models)}</div>"
    )


def _row(label: str, line: Line) -> str:
    prompt, output = line.prompt, line.output
    text = LiveText(line.shade).html(output, is_whole=True)
    return (
        f'<tr style="border-top:1px solid rgba(128,128,128,.3)"><td style="{_NUMBER}">{label}</td>'
        f'<td style="{_CELL}max-width:18em;white-space:pre-wrap;overflow-wrap:anywhere" title="{escape(prompt)}">'
        f"{escape(_cut(prompt, _PROMPT_LENGTH))}</td>"
        f'<td style="{_CELL}max-width:48em"><div style="max-height:9em;overflow:auto">{text}</div></td>'
        f'<td style="{_NUMBER}">{len(output.token_ids)}</td>'
        f'<td style="{_CELL}opacity:.6">{escape(output.finish_reason or "")}</td></tr>'
    )


def _labelled(lines: Sequence[Line]) -> list[tuple[str, Line]]:
    several = any(line.output.index > 0 for line in lines)
    return [(line.label(several), line) for line in lines[:MOST_ROWS]]


def _left_out(lines: Sequence[Line]) -> list[str]:
    return [f"{len(lines) - MOST_ROWS} more; .df has all of them"] if len(lines) > MOST_ROWS else []


def _cut(text: str, length: int) -> str:
    """The beginning and the end, which tell prompts of one template apart."""
    if len(text) <= length:
        return text
    return f"{text[: length * 2 // 3]} … {text[-(length // 3) :]}"
