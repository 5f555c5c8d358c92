"""How surprised a model is by a text, token by token."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aphrodite_engine.asking.question import Question, Reading, context, detokenized, generated, reading
from aphrodite_engine.asking.score import READ_ONLY
from aphrodite_engine.asking.table import table
from aphrodite_engine.errors import ParameterError
from aphrodite_engine.outputs import GenerationResult, Logprob
from aphrodite_engine.param_checks import Range
from aphrodite_engine.prompts import Prompt
from aphrodite_engine.visible import visible

if TYPE_CHECKING:  # pandas takes half a second that only `.df` pays
    import pandas as pd


@dataclass(frozen=True)
class ReadToken:
    """One scored token.

    Attributes:
        position: in the text's tokens, from 0; the first token of all has nothing before it and is not scored.
        logprob: nats. rank: 1 is the most likely. entropy: of the whole distribution, nats.
        context: tokens before it that the model saw.
    """

    position: int
    token_id: int
    text: str
    logprob: float
    rank: int
    entropy: float | None
    context: int


@dataclass(frozen=True)
class Perplexity:
    """A text as a model reads it.

    Attributes:
        tokens: the scored ones, in order.
        num_bytes: of the scored text, UTF-8.
        window: tokens that the model saw at once, at most. stride: tokens from one window to the next.
    """

    tokens: tuple[ReadToken, ...]
    num_bytes: int
    window: int
    stride: int

    @property
    def nats(self) -> float:
        """Surprise by all tokens: the sum of -log p."""
        return -math.fsum(token.logprob for token in self.tokens)

    @property
    def perplexity(self) -> float:
        """exp of the mean surprise of a token."""
        return math.exp(self.nats / len(self.tokens))

    @property
    def bits_per_byte(self) -> float:
        """Surprise a byte of text, in bits: comparable between models of different tokenizers. NaN without text."""
        if not self.num_bytes:
            return math.nan
        return self.nats / math.log(2) / self.num_bytes

    @property
    def df(self) -> pd.DataFrame:
        """One row a token: position, token_id, token, logprob (nats), probability, rank, entropy_nats, context."""
        import pandas as pd

        rows = [
            {"position": token.position, "token_id": token.token_id, "token": token.text, "logprob": token.logprob,
             "probability": math.exp(token.logprob), "rank": token.rank, "entropy_nats": token.entropy,
             "context": token.context}
            for token in self.tokens
        ]  # fmt: skip
        return pd.DataFrame(rows)

    def __float__(self) -> float:
        return self.perplexity

    def __repr__(self) -> str:
        size = f"{len(self.tokens):,} tokens in windows of {self.window:,}, {self.stride:,} apart"
        surprise = f"perplexity {self.perplexity:.4g}, {self.bits_per_byte:.4g} bits per byte"
        return f"{surprise} ({self.nats:,.1f} nats, {size})"

    def _repr_html_(self) -> str:
        """The figures, and the tokens that surprised most."""
        head = ("token", "position", "-log p (nats)", "rank")
        worst = sorted(self.tokens, key=lambda token: token.logprob)[:10]
        rows = [(visible(t.text), f"{t.position:,}", f"{-t.logprob:.2f}", f"{t.rank:,}") for t in worst]
        return f"<div>{self!r}</div>{table(head, rows)}"


def perplexity(text: Prompt, window: int | None, stride: int | None) -> Question[Perplexity]:
    """Read a text through a window that moves on by `stride`, and score what is new in each.

    The scheme of transformers' documentation, "Perplexity of fixed-length models".

    Raises:
        ParameterError: a text of less than two tokens; a window or a stride that is impossible.
    """
    read = yield from reading(text, "text")
    if len(read.token_ids) < 2:
        raise ParameterError("text", text, "at least two tokens: the first has nothing before it")
    window, stride = _checked(window, stride, (yield from context()) - 1)
    starts = _starts(len(read.token_ids), window, stride)
    results = yield from generated([read.token_ids[start : start + window] for start in starts], READ_ONLY)
    tokens = _tokens(results, starts)
    return Perplexity(tuple(tokens), (yield from _num_bytes(read)), window, stride)


def _checked(window: int | None, stride: int | None, longest: int) -> tuple[int, int]:
    """The window: one token of the context is the one that every request draws. The stride: half of it."""
    Range(2, longest, whole=True, or_none=True).check("window", window)
    wide = longest if window is None else window
    Range(1, wide - 1, whole=True, or_none=True).check("stride", stride)
    return wide, max(1, wide // 2) if stride is None else stride


def _starts(length: int, window: int, stride: int) -> list[int]:
    """Where windows begin, the last being the first that reaches the end."""
    return list(range(0, max(length - window, 0) + stride, stride))


def _tokens(results: Sequence[GenerationResult], starts: Sequence[int]) -> list[ReadToken]:
    """Each token once, by the first window that holds it."""
    tokens: list[ReadToken] = []
    for result, start in zip(results, starts, strict=True):
        first = len(tokens) + 1 - start
        for place in range(first, len(result.prompt_token_ids)):
            token_id = result.prompt_token_ids[place]
            own = (result.prompt_logprobs or [])[place][token_id]  # type: ignore[index]
            tokens.append(_read(start + place, token_id, own, place))
    return tokens


def _read(position: int, token_id: int, own: Logprob, seen: int) -> ReadToken:
    return ReadToken(position, token_id, own.decoded_token, own.logprob, own.rank, own.entropy, seen)


def _num_bytes(read: Reading) -> Question[int]:
    """Of all but the first token, which is often a mark with no text, and always unscored."""
    whole = read.text if read.text is not None else (yield from detokenized(read.token_ids))
    first = yield from detokenized(read.token_ids[:1])
    size = len(whole.encode(errors="surrogatepass"))
    return size - len(first.encode()) if whole.startswith(first) else size
