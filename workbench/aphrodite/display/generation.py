"""A finished (or interrupted) generation, as a notebook's cell returns it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aphrodite.display.token_html import shaded
from aphrodite_engine.outputs import CompletionOutput, GenerationResult, Timing

if TYPE_CHECKING:  # pandas takes half a second that only `.df` pays
    import pandas as pd


@dataclass(frozen=True)
class Alternative:
    """A token that could have stood there: its share of the distribution and its place in it."""

    text: str
    token_id: int
    probability: float
    rank: int


@dataclass(frozen=True)
class Token:
    """One drawn token.

    Attributes:
        logprob, probability, rank: None where logprobs were not asked for.
        alternatives: the most likely tokens, this one among them if it is one of those.
    """

    text: str
    token_id: int
    logprob: float | None = None
    rank: int | None = None
    alternatives: tuple[Alternative, ...] = ()

    @property
    def probability(self) -> float | None:
        return None if self.logprob is None else math.exp(self.logprob)


@dataclass(frozen=True)
class Usage:
    """Tokens of one request."""

    prompt_tokens: int
    output_tokens: int
    cached_tokens: int


class Generation:
    """What one prompt gave.

    Attributes:
        result: the engine's own result.
        model: the name it was asked under.
        params: the sampling fields that were given.
    """

    def __init__(self, result: GenerationResult, model: str, params: Mapping[str, Any]) -> None:
        self.result, self.model, self.params = result, model, dict(params)

    @property
    def text(self) -> str:
        return self.result.text

    @property
    def texts(self) -> list[str]:
        """Of each of the n sequences."""
        return [output.text for output in self.result.outputs]

    @property
    def tokens(self) -> list[Token]:
        """Of the first sequence."""
        return tokens_of(self.result.outputs[0])

    @property
    def logprobs(self) -> list[float | None]:
        """Of the first sequence's tokens; None where they were not asked for."""
        return [token.logprob for token in self.tokens]

    @property
    def seed(self) -> int:
        return self.result.seed

    @property
    def finish_reason(self) -> str | None:
        return self.result.outputs[0].finish_reason

    @property
    def timing(self) -> Timing | None:
        return self.result.timing

    @property
    def usage(self) -> Usage:
        output = sum(len(output.token_ids) for output in self.result.outputs)
        return Usage(len(self.result.prompt_token_ids), output, self.result.num_cached_tokens)

    @property
    def df(self) -> pd.DataFrame:
        """One row a sequence."""
        import pandas as pd

        return pd.DataFrame(rows_of(self))

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return self.text if len(self.result.outputs) == 1 else "\n\n".join(self._numbered())

    def _numbered(self) -> list[str]:
        return [f"[{output.index}] {output.text}" for output in self.result.outputs]

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> tuple[dict[str, str], dict[str, Any]]:
        """HTML, Markdown and plain text; times, which differ from run to run, go into the output's metadata."""
        bundle = {"text/plain": repr(self), "text/html": self._html()}
        return bundle, {"aphrodite": self._volatile()}

    def _html(self) -> str:
        parts = [shaded(tokens_of(output), output.text) for output in self.result.outputs]
        return "\n".join([*parts, self._footer()])

    def _footer(self) -> str:
        reason = {"length": "cut at the token limit", "abort": "interrupted"}.get(self.finish_reason or "", "")
        facts = [self.model, f"{self.usage.output_tokens} tokens", *([reason] if reason else [])]
        return f'<div style="opacity:.6;font-size:.85em;margin-top:.4em">{" · ".join(facts)}</div>'

    def _volatile(self) -> dict[str, Any]:
        timing = self.timing
        return {} if timing is None else {"ttft_ms": timing.ttft_ms, "total_ms": timing.total_ms, "seed": self.seed}


def tokens_of(output: CompletionOutput) -> list[Token]:
    """The tokens of one sequence, with what was reported of each."""
    if output.logprobs is None:
        return [Token("", token_id) for token_id in output.token_ids]
    found = []
    for token_id, position in zip(output.token_ids, output.logprobs, strict=True):
        drawn = position[token_id]
        alternatives = sorted(
            (Alternative(c.decoded_token, i, math.exp(c.logprob), c.rank) for i, c in position.items()),
            key=lambda candidate: candidate.rank,
        )
        found.append(Token(drawn.decoded_token, token_id, drawn.logprob, drawn.rank, tuple(alternatives)))
    return found


def rows_of(generation: Generation) -> list[dict[str, Any]]:
    """One row a sequence: what was asked, what came, how long it took."""
    result, timing = generation.result, generation.timing
    shared = {
        "model": generation.model,
        "prompt": result.prompt,
        **generation.params,
        "prompt_tokens": len(result.prompt_token_ids),
    }
    return [
        shared
        | {
            "index": output.index,
            "seed": output.seed,
            "text": output.text,
            "finish_reason": output.finish_reason,
            "output_tokens": len(output.token_ids),
            "ttft_ms": timing.ttft_ms if timing else None,
            "total_ms": timing.total_ms if timing else None,
            "output_tok_s": _speed(output, timing),
        }
        for output in result.outputs
    ]


def _speed(output: CompletionOutput, timing: Timing | None) -> float | None:
    if timing is None or len(output.token_ids) < 2 or timing.total_ms <= timing.ttft_ms:
        return None
    return 1e3 * (len(output.token_ids) - 1) / (timing.total_ms - timing.ttft_ms)


class Generations(Sequence[Generation]):
    """Generations of several prompts: a table to look at, `.df` to compute with."""

    def __init__(self, generations: Sequence[Generation]) -> None:
        self._generations = list(generations)

    def __getitem__(self, index: Any) -> Any:
        found = self._generations[index]
        return Generations(found) if isinstance(index, slice) else found

    def __len__(self) -> int:
        return len(self._generations)

    @property
    def texts(self) -> list[str]:
        return [generation.text for generation in self._generations]

    @property
    def df(self) -> pd.DataFrame:
        """One row a sequence."""
        import pandas as pd

        return pd.DataFrame([row for generation in self._generations for row in rows_of(generation)])

    def __repr__(self) -> str:
        return "\n\n".join(f"[{place}] {text}" for place, text in enumerate(self.texts))

    def _repr_html_(self) -> str:
        shown = self.df[["prompt", "text", "finish_reason", "output_tokens"]]
        return shown.to_html(max_rows=50, escape=True, border=0)
