"""A sequence while it grows: shaded, without what hovering would show; each update renders what is new, no more."""

from __future__ import annotations

from html import escape

from aphrodite.display.shade import COLOURS, STRONGEST, Shade, by_entropy, by_probability
from aphrodite.display.shares import Shares
from aphrodite.display.token_html import FRAME
from aphrodite_engine.outputs import CompletionOutput, Logprob

#: Neighbours of one step of shade are one span: what is sent many times a second stays small.
_STEPS = 8


class LiveText:
    """One sequence; `html` takes it as it has become, token after token."""

    def __init__(self, shade: Shade) -> None:
        self._shade: Shade = shade
        self._shares, self._rendered = Shares(), 0
        self._tokens: list[str] = []
        self._steps: list[int] = []
        self._closed, self._open, self._step = "", "", 0

    def html(self, output: CompletionOutput, is_whole: bool = False) -> str:
        """The sequence as it is now; with `is_whole` it will not grow any more."""
        if self._shade in COLOURS:
            self._read(output)
            self._shares.add(self._tokens, output.text, is_whole)
            self._render()
        return f'<div class="aphrodite-text" style="{FRAME}">{self._closed}{self._last(output.text)}</div>'

    def _read(self, output: CompletionOutput) -> None:
        start, positions = len(self._tokens), output.logprobs or ()
        for place in range(start, min(len(output.token_ids), len(positions))):
            drawn = positions[place].get(output.token_ids[place])
            self._tokens.append(output.given[place] if drawn is None else drawn.decoded_token)
            self._steps.append(0 if drawn is None else self._step_of(drawn))

    def _step_of(self, drawn: Logprob) -> int:
        opacity = by_entropy(drawn.entropy) if self._shade == "entropy" else by_probability(drawn.logprob)
        return round(_STEPS * opacity / STRONGEST)

    def _render(self) -> None:
        for share, step in zip(self._shares.of[self._rendered :], self._steps[self._rendered :], strict=False):
            if step != self._step:
                self._closed += self._span()
                self._open, self._step = "", step
            self._open += escape(share)
        self._rendered = len(self._shares.of)

    def _span(self) -> str:
        if not self._step or not self._open:
            return self._open
        opacity = STRONGEST * self._step / _STEPS
        return f'<span style="background:rgba({COLOURS[self._shade]},{opacity:.2f})">{self._open}</span>'

    def _last(self, text: str) -> str:
        """What may still grow, and text whose tokens are not certain yet."""
        return self._span() + escape(text[self._shares.end :])
