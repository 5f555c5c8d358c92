"""What `/generate` sends, as the objects the engine itself gives."""

from __future__ import annotations

import math

import msgspec

from aphrodite.client.generate_call import GenerateCall
from aphrodite.generated import Generated, Made, Output, Piece, Position, Stage, Times
from aphrodite_engine.outputs import (
    CompletionOutput,
    GenerationResult,
    Logprob,
    PositionLogprobs,
    StageCandidate,
    Timing,
    TokenEvent,
    TraceStage,
)


def token_event(request_id: str, piece: Piece, call: GenerateCall) -> TokenEvent:
    """One step's news."""
    return TokenEvent(
        request_id=request_id,
        index=piece.index,
        seed=piece.seed,
        text=piece.text,
        token_ids=tuple(piece.token_ids),
        logprobs=None if piece.logprobs is None else tuple(map(_position, piece.logprobs)),
        traces=None if piece.traces is None else tuple(tuple(map(_stage, stages)) for stages in piece.traces),
        finish_reason=piece.finish_reason,
        stop_reason=piece.stop_reason,
        prompt_logprobs=None if piece.prompt_logprobs is None else tuple(map(_prompt_position, piece.prompt_logprobs)),
        num_cached_tokens=piece.num_cached_tokens,
        timing=_timing(piece.timing),
        given=tuple(piece.given),
        origin=call.origin(piece.made) if piece.made else None,
    )


def generation_result(answer: Generated, call: GenerateCall) -> GenerationResult:
    """A whole answer."""
    origin = call.origin(Made(answer.model, answer.build, answer.prompt, answer.prompt_token_ids))
    return GenerationResult(
        request_id=answer.id,
        prompt=origin.prompt,
        prompt_token_ids=answer.prompt_token_ids,
        outputs=[_output(output) for output in answer.outputs],
        prompt_logprobs=None if answer.prompt_logprobs is None else list(map(_prompt_position, answer.prompt_logprobs)),
        num_cached_tokens=answer.num_cached_tokens,
        timing=_timing(answer.timing),
        origin=origin,
    )


def _output(output: Output) -> CompletionOutput:
    return CompletionOutput(
        index=output.index,
        seed=output.seed,
        text=output.text,
        token_ids=output.token_ids,
        logprobs=None if output.logprobs is None else list(map(_position, output.logprobs)),
        traces=None if output.traces is None else [tuple(map(_stage, stages)) for stages in output.traces],
        finish_reason=output.finish_reason,
        stop_reason=output.stop_reason,
        given=tuple(output.given),
    )


def _position(position: Position) -> PositionLogprobs:
    return {
        c.token_id: Logprob(_logprob(c.logprob), c.rank, c.decoded_token, c.entropy, c.raw_logprob, c.processed_logprob)
        for c in position
    }


def _stage(stage: Stage) -> TraceStage:
    top = tuple(StageCandidate(c.token_id, c.probability, c.decoded_token) for c in stage.top)
    return TraceStage(stage.name, stage.num_possible, stage.drawn, top, stage.coin)


def _prompt_position(position: Position | None) -> PositionLogprobs | None:
    return None if position is None else _position(position)


def _logprob(value: float | None) -> float:
    return -math.inf if value is None else value


def _timing(times: Times | None) -> Timing | None:
    return None if times is None else Timing(*msgspec.structs.astuple(times))
