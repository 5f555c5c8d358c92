"""A generation as it crosses HTTP (`/generate`): everything the engine's own results hold, bit for bit.

OpenAI's shapes leave out what reproducing a result needs: token ids of candidates, ranks, the prompt as it was read.
Service and client both read this file; neither reads the other's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from aphrodite_engine.build import Build

FinishReason = Literal["stop", "length", "repetition", "abort", "error"]


class Candidate(msgspec.Struct, omit_defaults=True):
    """One token that could stand at a position.

    Attributes:
        logprob: null is minus infinity, which JSON cannot say.
        rank: 1 is the most likely.
        entropy: (nats) of the whole distribution at the position; only the first candidate of a position has it.
        raw_logprob, processed_logprob: of a drawn token, in the model's distribution and in what it was drawn from.
    """

    token_id: int
    logprob: float | None
    rank: int
    decoded_token: str
    entropy: float | None = None
    raw_logprob: float | None = None
    processed_logprob: float | None = None


#: The drawn token first, then the most likely ones.
Position = list[Candidate]


class StageToken(msgspec.Struct):
    """A token and its probability behind one stage of sampling."""

    token_id: int
    probability: float
    decoded_token: str


class Stage(msgspec.Struct, omit_defaults=True):
    """The distribution of one position behind one stage of sampling.

    Attributes:
        name: "model" (before any), "constraints", a step's name, "mirostat" or "adaptive_p".
        num_possible: tokens that still could be drawn.
        drawn: probability of the token that was drawn in the end.
        coin: what a step that tosses tossed, in (0, 1).
    """

    name: str
    num_possible: int
    drawn: float
    top: list[StageToken]
    coin: float | None = None


class Times(msgspec.Struct):
    """In milliseconds since the engine took the request."""

    queue_ms: float
    ttft_ms: float
    total_ms: float


class Made(msgspec.Struct):
    """What an answer was made from, besides the request's own fields.

    Attributes:
        model: the name that was asked.
        build: of the loaded model: weights, versions, device, arithmetic.
        prompt: as it was given, or as the chat template wrote it; null where token ids were given.
    """

    model: str
    build: Build
    prompt: str | None
    prompt_token_ids: list[int]


class Piece(msgspec.Struct, omit_defaults=True):
    """One step's news of one sequence; what is at its default is left out.

    Attributes:
        made: with the first piece of a request.
        given: with the first piece of a continuation, the texts of its tokens, with which token_ids begin; of them
            logprobs and traces are empty.
        prompt_logprobs: with the first piece of a request that asked for them.
        timing: with the last piece of a sequence.
        traces: of each new token, every stage in order; the last is what it was drawn from.
    """

    index: int
    seed: int
    text: str = ""
    token_ids: Sequence[int] = ()
    logprobs: list[Position] | None = None
    finish_reason: FinishReason | None = None
    stop_reason: int | str | None = None
    prompt_logprobs: list[Position | None] | None = None
    num_cached_tokens: int = 0
    timing: Times | None = None
    traces: list[list[Stage]] | None = None
    made: Made | None = None
    given: Sequence[str] = ()


class Output(msgspec.Struct):
    """One of the n sequences, whole.

    Attributes:
        given: texts of the tokens of a continuation, with which token_ids begin.
    """

    index: int
    seed: int
    text: str = ""
    token_ids: list[int] = []
    logprobs: list[Position] | None = None
    finish_reason: FinishReason | None = None
    stop_reason: int | str | None = None
    traces: list[list[Stage]] | None = None
    given: list[str] = []

    def add(self, piece: Piece) -> None:
        """Fold one piece in."""
        self.given.extend(piece.given)
        self.text += piece.text
        self.token_ids.extend(piece.token_ids)
        if piece.logprobs is not None:
            self.logprobs = self.logprobs or []
            self.logprobs.extend(piece.logprobs)
        if piece.traces is not None:
            self.traces = self.traces or []
            self.traces.extend(piece.traces)
        if piece.finish_reason is not None:
            self.finish_reason, self.stop_reason = piece.finish_reason, piece.stop_reason


class Generated(msgspec.Struct, kw_only=True):
    """A whole answer.

    Attributes:
        prompt: as it was given, or as the chat template wrote it; null where token ids were given.
        system_fingerprint: equal fingerprints give equal tokens for equal requests.
        build: what the fingerprint is made of.
    """

    id: str
    model: str
    system_fingerprint: str
    build: Build
    prompt: str | None
    prompt_token_ids: list[int]
    outputs: list[Output]
    prompt_logprobs: list[Position | None] | None = None
    num_cached_tokens: int = 0
    timing: Times | None = None

    def add(self, piece: Piece) -> None:
        """Fold one piece in."""
        self.outputs[piece.index].add(piece)
        self.prompt_logprobs = piece.prompt_logprobs or self.prompt_logprobs
        self.timing = piece.timing or self.timing
        if piece.index == 0:
            self.num_cached_tokens = max(self.num_cached_tokens, piece.num_cached_tokens)


class Rendered(msgspec.Struct):
    """A conversation as the model reads it (`/render`)."""

    prompt: str
    token_ids: list[int]
