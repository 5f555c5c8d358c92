"""What comes back: events while tokens are drawn, results when they are all there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from aphrodite_engine.build import Build
from aphrodite_engine.errors import OriginError
from aphrodite_engine.inside.steering import Steering
from aphrodite_engine.maker import Maker
from aphrodite_engine.params import SamplingParams
from aphrodite_engine.prompts import Continuation
from aphrodite_engine.recipe import Recipe
from aphrodite_engine.tokens import Logprob, Token, tokens_of

FinishReason = Literal["stop", "length", "repetition", "abort", "error"]


@dataclass(frozen=True)
class StageCandidate:
    """A token and its probability behind one stage of sampling."""

    token_id: int
    probability: float
    decoded_token: str


@dataclass(frozen=True)
class TraceStage:
    """The distribution of one position behind one stage of sampling.

    Attributes:
        name: "model" (before any), "constraints", a step's name, "mirostat" or "adaptive_p".
        num_possible: tokens that still could be drawn.
        drawn: probability of the token that was drawn in the end.
        top: the most likely tokens.
        coin: what a step that tosses tossed, in (0, 1).
    """

    name: str
    num_possible: int
    drawn: float
    top: tuple[StageCandidate, ...]
    coin: float | None = None


#: Of one position: every stage, in order. The last is what the token was drawn from. None at all of a given token.
PositionTrace = tuple[TraceStage, ...]

#: Of one position: the drawn token first, then the most likely ones. Nothing is reported of a given token.
PositionLogprobs = Mapping[int, Logprob]


@dataclass(frozen=True)
class Timing:
    """Of one request, in milliseconds since it was handed over; they vary from run to run.

    Attributes:
        queue_ms: until its first step began.
        ttft_ms: until its first token.
        total_ms: until its last.
    """

    queue_ms: float
    ttft_ms: float
    total_ms: float


@dataclass(frozen=True)
class Origin:
    """What a result was made from: with it the same can be made again, and others beside it.

    Attributes:
        model: the name it was asked under.
        params: as they were given; the result has the seed where they have none.
        steering: what was added to the residual stream.
        maker: who made it.
    """

    model: str
    build: Build
    params: SamplingParams
    prompt: str | None
    prompt_token_ids: tuple[int, ...]
    continuation: Continuation | None = None
    cache_salt: str = ""
    steering: Steering = field(default_factory=Steering)
    maker: Maker = field(default_factory=Maker, compare=False, repr=False)


@dataclass(frozen=True)
class TokenEvent:
    """One step's news of one sequence of a request.

    Attributes:
        text: what became certain with this token; pieces joined are the whole text.
        token_ids: the ids that became certain: most often one, several where banned_phrases held some back, none where
            only text or an end is reported.
        given: with the first event of a continuation, the texts of its tokens, with which token_ids begin.
        origin: with the first event of a request.
        stop_reason: the stop string or id that ended it.
        prompt_logprobs: with the first event of a request that asked for them.
        embedding: with the only event of an embedding request, (hidden,) float32.
        traces: of each id, what every stage of sampling did.
        captured: with the only event of a request for hidden states, arrays of each layer with a row for every token.
    """

    request_id: str
    index: int
    seed: int
    text: str = ""
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[PositionLogprobs, ...] | None = None
    finish_reason: FinishReason | None = None
    stop_reason: int | str | None = None
    prompt_logprobs: tuple[PositionLogprobs | None, ...] | None = None
    num_cached_tokens: int = 0
    timing: Timing | None = None
    embedding: np.ndarray | None = None
    error: BaseException | None = None
    traces: tuple[PositionTrace, ...] | None = None
    captured: Mapping[int, tuple[np.ndarray, ...]] | None = None
    given: tuple[str, ...] = ()
    origin: Origin | None = None


@dataclass
class CompletionOutput:
    """One of the n sequences of a result.

    Attributes:
        finish_reason: "stop" (EOS, a stop id or string), "length" (max_tokens or the context is full), "repetition"
            (repetition_detection), "abort".
        stop_reason: the stop string or id, None for EOS.
        seed: with it and the same request, the same tokens come again.
        given: texts of the first tokens, each alone, where those were given (Continuation) and not drawn; nothing else
            is known of them, so that their logprobs and traces are empty.
    """

    index: int
    seed: int
    text: str = ""
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[PositionLogprobs] | None = None
    finish_reason: FinishReason | None = None
    stop_reason: int | str | None = None
    traces: list[PositionTrace] | None = None
    given: tuple[str, ...] = ()

    @property
    def tokens(self) -> list[Token]:
        """With what was reported of each."""
        return tokens_of(self.token_ids, self.logprobs, self.given)


@dataclass
class GenerationResult:
    """What one prompt gave. `.text`, `.token_ids` and `.tokens` are those of the first output.

    Attributes:
        origin: what it was made from; None of one that was put together by hand.
    """

    request_id: str
    prompt: str | None
    prompt_token_ids: list[int]
    outputs: list[CompletionOutput]
    prompt_logprobs: list[PositionLogprobs | None] | None = None
    num_cached_tokens: int = 0
    timing: Timing | None = None
    origin: Origin | None = field(default=None, repr=False)

    @property
    def text(self) -> str:
        return self.outputs[0].text

    @property
    def tokens(self) -> list[Token]:
        return self.outputs[0].tokens

    @property
    def params(self) -> SamplingParams:
        """As they were given; `.seed` is what was drawn with where they have none."""
        return self.known_origin.params

    @property
    def fingerprint(self) -> str:
        """Of the model and all else that equal tokens depend on."""
        return self.known_origin.build.fingerprint

    @property
    def token_ids(self) -> list[int]:
        return self.outputs[0].token_ids

    @property
    def seed(self) -> int:
        return self.outputs[0].seed

    @property
    def finished(self) -> bool:
        return all(output.finish_reason is not None for output in self.outputs)

    @property
    def known_origin(self) -> Origin:
        """What it was made from.

        Raises:
            OriginError: it was put together by hand.
        """
        if self.origin is None:
            raise OriginError("this result was put together by hand: it does not say what it was made from")
        return self.origin

    @property
    def recipe(self) -> Recipe:
        """All that is needed to make it again.

        Raises:
            OriginError: it was put together by hand, or is not at its end.
        """
        for output in self.outputs:
            if output.finish_reason in (None, "abort", "error"):
                how = output.finish_reason or "it still runs"
                raise OriginError(f"output {output.index} has not come to its end ({how}): no recipe gives just this")
        origin = self.known_origin
        return Recipe(
            origin.model, origin.build, origin.prompt_token_ids, origin.params, self.seed,
            tuple(tuple(output.token_ids) for output in self.outputs), origin.continuation, origin.steering,
        )  # fmt: skip

    def branch(
        self, at: int, token: int | str | None = None, seed: int | None = None, index: int = 0, **fields: Any
    ) -> GenerationResult:
        """Go on from somewhere in it with another token, draw or sampling fields, see `aphrodite.Session.branch`.

        Raises:
            OriginError: who made it is gone.
        """
        maker = self.known_origin.maker.find()
        if not hasattr(maker, "branch"):
            raise OriginError(f"{maker!r} is for coroutines: await result.abranch(...)")
        return maker.branch(self, at, token, seed, index, **fields)

    async def abranch(
        self, at: int, token: int | str | None = None, seed: int | None = None, index: int = 0, **fields: Any
    ) -> GenerationResult:
        """branch() for coroutines."""
        return await self.known_origin.maker.find().abranch(self, at, token, seed, index, **fields)

    def tell_prompt(self, prompt: str | None) -> None:
        """What the prompt's ids are the ids of, which whoever made it did not know."""
        self.prompt, self.origin = prompt, replace(self.known_origin, prompt=prompt)

    def add(self, event: TokenEvent) -> None:
        """Fold one event in."""
        output = self.outputs[event.index]
        output.given = event.given or output.given
        self._take_origin(event.origin)
        output.text += event.text
        output.token_ids.extend(event.token_ids)
        if event.logprobs is not None:
            output.logprobs = output.logprobs or []
            output.logprobs.extend(event.logprobs)
        if event.traces is not None:
            output.traces = output.traces or []
            output.traces.extend(event.traces)
        if event.finish_reason is not None:
            output.finish_reason, output.stop_reason = event.finish_reason, event.stop_reason
        if event.prompt_logprobs is not None:
            self.prompt_logprobs = list(event.prompt_logprobs)
        if event.index == 0:
            self.num_cached_tokens = max(self.num_cached_tokens, event.num_cached_tokens)
        self.timing = event.timing or self.timing

    def _take_origin(self, origin: Origin | None) -> None:
        if origin is not None:
            self.origin, self.prompt, self.prompt_token_ids = origin, origin.prompt, list(origin.prompt_token_ids)
