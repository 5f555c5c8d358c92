"""A generation as HTML: one sequence as text, several as a numbered list."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from aphrodite.display.live_text import LiveText
from aphrodite.display.shade import Shade
from aphrodite.display.token_html import STYLE, sequence, switch
from aphrodite_engine.outputs import CompletionOutput

_ENDS = {
    "length": "cut at the token limit",
    "repetition": "cut where it went round",
    "abort": "interrupted",
    "error": "ended by an error",
}


class LiveSequences:
    """Sequences while they grow."""

    def __init__(self, shade: Shade) -> None:
        self.shade: Shade = shade
        self._texts: list[LiveText] = []

    def html(self, outputs: Sequence[CompletionOutput], model: str) -> str:
        """As they are now."""
        while len(self._texts) < len(outputs):
            self._texts.append(LiveText(self.shade))
        texts = [text.html(output) for text, output in zip(self._texts, outputs, strict=True)]
        return f'<div class="aphrodite">{_listed(outputs, texts)}{footer(outputs, model)}</div>'


def whole(outputs: Sequence[CompletionOutput], model: str, shade: Shade, kept: int | None = None) -> str:
    """Every token with its shade and, on hovering, its alternatives; `kept` as in token_html.sequence."""
    texts = [sequence(output, shade, kept) for output in outputs]
    has_shades = any(output.logprobs for output in outputs)
    head = STYLE + switch(shade) if has_shades else ""
    return f'<div class="aphrodite">{head}{_listed(outputs, texts)}{footer(outputs, model)}</div>'


def _listed(outputs: Sequence[CompletionOutput], texts: Sequence[str]) -> str:
    if len(texts) == 1:
        return texts[0]
    items = zip(outputs, texts, strict=True)
    listed = "".join(f'<li value="{output.index}" style="margin:.3em 0">{text}</li>' for output, text in items)
    return f'<ol start="0" style="margin:0;padding-left:2em">{listed}</ol>'


def footer(outputs: Sequence[CompletionOutput], model: str) -> str:
    """Whose tokens, how many, and how they ended where they did not end by themselves."""
    facts = " · ".join([model, tokens(sum(len(output.token_ids) for output in outputs)), *ends(outputs)])
    return f'<div style="opacity:.6;font-size:.85em;margin-top:.4em">{escape(facts)}</div>'


def tokens(count: int) -> str:
    return f"{count:,} token{'' if count == 1 else 's'}"


def ends(outputs: Sequence[CompletionOutput]) -> list[str]:
    """Each unusual end once; of several sequences, how many ended so."""
    reasons = [output.finish_reason for output in outputs]
    found = [(reasons.count(reason), words) for reason, words in _ENDS.items() if reason in reasons]
    return [words if count == len(reasons) else f"{count} of {len(reasons)} {words}" for count, words in found]
