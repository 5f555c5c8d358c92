"""What the token view and the branch tree show of a sequence, and the JavaScript they share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aphrodite.display import generation_html
from aphrodite.display.shade import by_entropy, by_probability
from aphrodite.display.shares import Shares
from aphrodite_engine.outputs import CompletionOutput
from aphrodite_engine.tokens import Token
from aphrodite_engine.visible import visible

Json = dict[str, Any]

#: A sequence that is not there yet.
NOTHING: Json = {"kept": "", "forced": "", "first": 0, "tokens": [], "rest": "", "facts": ""}
_FOLDER = Path(__file__).parent


def module(name: str) -> str:
    """The JavaScript of one widget, with what it shares before it: front ends take one module a widget."""
    return "\n".join((_FOLDER / file).read_text("utf-8") for file in ("sequence.js", f"{name}.js"))


def sequence(output: CompletionOutput, model: str = "", kept: int | None = None) -> Json:
    """A sequence as the JavaScript shows it.

    `kept` is the text of the tokens it has from where it was branched off, `forced` that of the token it was given
    there, `tokens` are those that were drawn, the first of them at position `first`; `rest` is text that is nobody's
    (all of it where nothing was reported), `facts` the line below.

    Args:
        kept: how many tokens were kept; None is all that were given.
    """
    first = len(output.given)
    kept = first if kept is None else min(kept, first)
    listed = output.tokens if output.logprobs is not None else output.tokens[:first]
    shares = Shares()
    shares.add([token.text for token in listed], output.text, is_whole=True)
    facts = [model, generation_html.tokens(len(output.token_ids)), *generation_html.ends([output])]
    return {
        "kept": "".join(shares.of[:kept]),
        "forced": "".join(shares.of[kept:first]),
        "first": first,
        "tokens": [_token(*each) for each in zip(listed[first:], shares.of[first:], strict=True)],
        "rest": output.text[shares.end :],
        "facts": " · ".join(filter(None, facts)),
    }


def _token(token: Token, share: str) -> Json:
    """One token.

    `sign` stands for what would not be seen; `opacity` is that of each shade; `both` are its probability as the model
    had it and as it was drawn from, where those differ; `others` holds all candidates, the most likely first: text,
    probability, whether it is the drawn one, id.
    """
    assert token.logprob is not None
    drawn = token.token_id
    return {
        "text": share,
        "sign": "" if share and "\n" not in share else "⏎" if share else _sign(token.text),
        "name": visible(token.text),
        "id": drawn,
        "rank": token.rank,
        "probability": token.probability,
        "entropy": token.entropy,
        "both": _both(token),
        "opacity": [round(by_probability(token.logprob), 2), round(by_entropy(token.entropy), 2)],
        "others": [[visible(a.text), a.probability, a.token_id == drawn, a.token_id] for a in token.alternatives],
    }


def _both(token: Token) -> list[float] | None:
    raw, processed = token.raw_probability, token.processed_probability
    return None if raw is None or processed is None or raw == processed else [raw, processed]


def _sign(text: str) -> str:
    return "·" if "\N{REPLACEMENT CHARACTER}" in text else visible(text)
