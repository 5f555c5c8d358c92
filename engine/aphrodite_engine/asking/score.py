"""How likely continuations of a prompt are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aphrodite_engine.asking.question import Question, Reading, generated, reading, tokenized
from aphrodite_engine.asking.table import table
from aphrodite_engine.errors import ParameterError
from aphrodite_engine.outputs import GenerationResult
from aphrodite_engine.params import SamplingParams
from aphrodite_engine.prompts import Message, Prompt
from aphrodite_engine.visible import visible

if TYPE_CHECKING:  # pandas takes half a second that only `.df` pays
    import pandas as pd

#: One token is drawn because a request draws one; only what is said of its prompt counts.
READ_ONLY = SamplingParams(max_tokens=1, temperature=0, prompt_logprobs=0)


@dataclass(frozen=True)
class Score:
    """How likely one continuation is, by the model's own distribution.

    Attributes:
        text: of the continuation as it was given; of ids, that of their tokens.
        total: log-probability of all its tokens, nats.
        rank: its place among the continuations by `total`; 1 is the most likely, equals share the better place.
        token_ids, tokens, logprobs: of each scored token: id, text, log-probability in nats.
        token_ranks: each token's place in the whole vocabulary; 1 is the most likely.
        merged: tokens at the prompt's end that the tokenizer makes otherwise with the continuation behind them. Then
            the scored tokens begin that much earlier, at the first that differs, and hold the end of the prompt too.
    """

    text: str
    total: float
    rank: int
    token_ids: tuple[int, ...]
    tokens: tuple[str, ...]
    logprobs: tuple[float, ...]
    token_ranks: tuple[int, ...]
    merged: int = 0

    @property
    def mean(self) -> float:
        """Log-probability a token, nats: what makes continuations of different length comparable."""
        return self.total / len(self.logprobs)


class Scores(Sequence[Score]):
    """The scores of a prompt's continuations, in the order they were given."""

    def __init__(self, scores: Sequence[Score]) -> None:
        self._scores = tuple(scores)

    def __getitem__(self, place: Any) -> Any:
        return self._scores[place]

    def __len__(self) -> int:
        return len(self._scores)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Scores) and self._scores == other._scores

    __hash__ = None  # type: ignore[assignment]

    @property
    def best(self) -> Score:
        """The most likely one."""
        return min(self._scores, key=lambda score: score.rank)

    @property
    def df(self) -> pd.DataFrame:
        """One row a continuation: continuation, text, rank, total_nats, mean_nats, tokens, merged."""
        import pandas as pd

        rows = [
            {"continuation": place, "text": score.text, "rank": score.rank, "total_nats": score.total,
             "mean_nats": score.mean, "tokens": len(score.logprobs), "merged": score.merged}
            for place, score in enumerate(self._scores)
        ]  # fmt: skip
        return pd.DataFrame(rows)

    @property
    def tokens_df(self) -> pd.DataFrame:
        """One row a token: continuation, position (from 0), token_id, token, logprob (nats), rank."""
        import pandas as pd

        rows = [
            {"continuation": place, "position": position, "token_id": token_id, "token": token, "logprob": logprob,
             "rank": rank}
            for place, score in enumerate(self._scores)
            for position, (token_id, token, logprob, rank) in enumerate(
                zip(score.token_ids, score.tokens, score.logprobs, score.token_ranks, strict=True)
            )
        ]  # fmt: skip
        return pd.DataFrame(rows)

    def __repr__(self) -> str:
        return "\n".join("  ".join(cells) for cells in self._cells())

    def _repr_html_(self) -> str:
        return table(("continuation", "rank", "total (nats)", "mean (nats)", "tokens"), self._cells())

    def _cells(self) -> list[tuple[str, ...]]:
        return [
            (visible(score.text), str(score.rank), f"{score.total:.3f}", f"{score.mean:.3f}", str(len(score.logprobs)))
            for score in self._scores
        ]


def score(prompt: Prompt | Sequence[Message], continuations: Sequence[Prompt]) -> Question[Scores]:
    """Read the prompt with each continuation behind it.

    Raises:
        ParameterError: no continuations, an empty one, or one with nothing before it.
    """
    listed = _checked(continuations)
    before = yield from reading(prompt)
    wholes = []
    for place, continuation in enumerate(listed):
        ids = yield from _whole(before, continuation)
        _check(before.token_ids, ids, f"continuations[{place}]", continuation)
        wholes.append(ids)
    results = yield from generated(wholes, READ_ONLY)
    found = [_scored(given, before.token_ids, result) for given, result in zip(listed, results, strict=True)]
    totals = [one["total"] for one in found]
    return Scores([Score(**one, rank=1 + sum(other > one["total"] for other in totals)) for one in found])


def _checked(continuations: Any) -> list[Prompt]:
    if not isinstance(continuations, Sequence) or isinstance(continuations, (str, bytes)) or not continuations:
        raise ParameterError("continuations", continuations, "a list of at least one text or list of token ids")
    for place, continuation in enumerate(continuations):
        if not isinstance(continuation, Sequence) or isinstance(continuation, bytes) or not continuation:
            raise ParameterError(f"continuations[{place}]", continuation, "a text or a list of ids, and not empty")
    return list(continuations)


def _whole(before: Reading, continuation: Prompt) -> Question[list[int]]:
    """Ids of both together: tokenized as one text where both are text, else one behind the other."""
    if not isinstance(continuation, str):
        return [*before.token_ids, *continuation]
    if before.text is None:
        return before.token_ids + (yield from tokenized(continuation, add_special_tokens=False))
    return (yield from tokenized(before.text + continuation, before.add_special_tokens))


def _check(before: Sequence[int], ids: Sequence[int], name: str, continuation: Prompt) -> None:
    shared = _shared(before, ids)
    if shared == len(ids):
        raise ParameterError(name, continuation, "a continuation that adds at least one token")
    if shared == 0:
        raise ParameterError(name, continuation, "a continuation that leaves at least one token of the prompt as it is")


def _shared(before: Sequence[int], ids: Sequence[int]) -> int:
    """How many ids both begin with."""
    pairs = enumerate(zip(before, ids, strict=False))
    return next((place for place, (one, other) in pairs if one != other), min(len(before), len(ids)))


def _scored(given: Prompt, before: Sequence[int], result: GenerationResult) -> dict[str, Any]:
    """What was said of the tokens behind those that the prompt has alone."""
    ids, start = result.prompt_token_ids, _shared(before, result.prompt_token_ids)
    read = [position[i] for i, position in zip(ids[start:], (result.prompt_logprobs or [])[start:], strict=True)]  # type: ignore[index]
    tokens = tuple(own.decoded_token for own in read)
    logprobs = tuple(own.logprob for own in read)
    return {
        "text": given if isinstance(given, str) else "".join(tokens),
        "total": math.fsum(logprobs),
        "token_ids": tuple(ids[start:]),
        "tokens": tokens,
        "logprobs": logprobs,
        "token_ranks": tuple(own.rank for own in read),
        "merged": len(before) - start,
    }
