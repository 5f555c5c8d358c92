"""Structures that several routes answer with."""

from __future__ import annotations

import msgspec

from aphrodite.service.engines.boundary import TokenLogprob

IMPOSSIBLE = -9999.0


class StreamOptions(msgspec.Struct):
    """What a stream holds besides the text.

    Attributes:
        include_usage: one more event, with the counts of tokens, before the end.
    """

    include_usage: bool | None = None


class TopLogprob(msgspec.Struct):
    token: str
    logprob: float
    bytes: list[int] | None


class ContentLogprob(TopLogprob):
    """Of the token that stands at a position.

    Attributes:
        raw_logprob, processed_logprob: of a drawn token, in the model's own distribution and in what it was drawn from,
            whatever `logprobs_mode` says of the others.
        entropy: (nats) of the distribution that `logprobs_mode` names.
    """

    top_logprobs: list[TopLogprob]
    raw_logprob: float | None = None
    processed_logprob: float | None = None
    entropy: float | None = None


class ChoiceLogprobs(msgspec.Struct):
    content: list[ContentLogprob] | None
    refusal: None = None


def content_logprob(candidates: list[TokenLogprob], count: int) -> ContentLogprob:
    """Of one position: the drawn token, and the `count` most likely ones."""
    drawn = candidates[0]
    best = sorted(candidates, key=lambda candidate: candidate.rank)[:count]
    top = [TopLogprob(c.text, finite(c.logprob), list(c.raw)) for c in best]
    return ContentLogprob(
        drawn.text, finite(drawn.logprob), list(drawn.raw), top, finite_or_none(drawn.raw_logprob),
        finite_or_none(drawn.processed_logprob), drawn.entropy,
    )  # fmt: skip


def finite(logprob: float) -> float:
    """JSON has no infinities: an impossible token's log-probability is written as OpenAI's does it."""
    return max(logprob, IMPOSSIBLE)


def finite_or_none(logprob: float | None) -> float | None:
    """The same where there may be none."""
    return None if logprob is None else finite(logprob)


class PromptDetails(msgspec.Struct):
    cached_tokens: int = 0


class CompletionDetails(msgspec.Struct):
    reasoning_tokens: int = 0


class Usage(msgspec.Struct):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails
    completion_tokens_details: CompletionDetails


def usage(prompt: int, completion: int, cached: int = 0, reasoning: int = 0) -> Usage:
    """Token counts of one request."""
    return Usage(prompt, completion, prompt + completion, PromptDetails(cached), CompletionDetails(reasoning))
