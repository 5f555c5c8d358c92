"""A sequence whose tokens can be looked at: hover or walk over them, choose what the shade means, click one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from traitlets import Enum, Int, List, Unicode

from aphrodite.display import generation_html
from aphrodite.display.markdown import quoted
from aphrodite.display.shade import SHADES, Shade, by_entropy, by_probability, checked
from aphrodite.display.shares import Shares
from aphrodite.display.visible import visible
from aphrodite.widgets.static import WithStaticForm
from aphrodite_engine.outputs import CompletionOutput, Logprob, PositionLogprobs

Json = dict[str, Any]


class TokenView(WithStaticForm):
    """One sequence of a generation.

    Attributes:
        shade: "probability", "entropy" or "none"; the widget's switch changes it, and so does assigning it.
        selected: the place of the clicked token, from 0; None where none is, or after a second click.
        tokens: what the JavaScript shows of each token.
        rest: text after the last token's share.
        facts: the line below.
    """

    _esm = Path(__file__).with_name("token_view.js")

    shade = Enum(SHADES, "probability").tag(sync=True)
    selected = Int(None, allow_none=True).tag(sync=True)
    tokens = List().tag(sync=True)
    rest = Unicode("").tag(sync=True)
    facts = Unicode("").tag(sync=True)

    def __init__(self, output: CompletionOutput, *, model: str = "", shade: Shade = "probability") -> None:
        self._output, self._model = output, model
        tokens, rest = _dealt(output)
        facts = [model, generation_html.tokens(len(output.token_ids)), *generation_html.ends([output])]
        super().__init__(shade=shade, tokens=tokens, rest=rest, facts=" · ".join(filter(None, facts)))

    def static_form(self) -> Mapping[str, str]:
        html = generation_html.whole([self._output], self._model, checked(self.shade))
        return {"text/plain": self._output.text, "text/html": html, "text/markdown": quoted(self._output.text)}


def _dealt(output: CompletionOutput) -> tuple[list[Json], str]:
    """Each token with its share of the text, and the text that is nobody's: all of it where nothing was reported."""
    positions: Sequence[PositionLogprobs] = output.logprobs or ()
    drawn = list(zip(output.token_ids, positions, strict=False))
    shares = Shares()
    shares.add([position[token_id].decoded_token for token_id, position in drawn], output.text, is_whole=True)
    tokens = [_token(*each, share) for each, share in zip(drawn, shares.of, strict=True)]
    return tokens, output.text[shares.end :]


def _token(token_id: int, position: PositionLogprobs, share: str) -> Json:
    """One token.

    `sign` stands for what would not be seen; `opacity` is that of each shade; `others` holds all candidates, the most
    likely first: text, probability, and whether it is the drawn one.
    """
    found = position[token_id]
    candidates = sorted(position.items(), key=lambda item: item[1].rank)
    return {
        "text": share,
        "sign": "" if share and "\n" not in share else "⏎" if share else _sign(found),
        "name": visible(found.decoded_token),
        "id": token_id,
        "rank": found.rank,
        "probability": math.exp(found.logprob),
        "entropy": found.entropy,
        "opacity": [round(by_probability(found.logprob), 2), round(by_entropy(found.entropy), 2)],
        "others": [[visible(c.decoded_token), math.exp(c.logprob), i == token_id] for i, c in candidates],
    }


def _sign(drawn: Logprob) -> str:
    return "·" if "\N{REPLACEMENT CHARACTER}" in drawn.decoded_token else visible(drawn.decoded_token)
