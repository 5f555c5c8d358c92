"""Another way on from somewhere in a result."""

from __future__ import annotations

from typing import Any

from aphrodite_engine.asking.question import Call, Question, detokenized, tokenized
from aphrodite_engine.errors import ParameterError
from aphrodite_engine.outputs import CompletionOutput, GenerationResult
from aphrodite_engine.prompts import Continuation


def branch(
    result: GenerationResult, at: int, token: int | str | None, seed: int | None, index: int, fields: dict[str, Any]
) -> Question[GenerationResult]:
    """What `Asks.branch` asks."""
    origin, output = result.known_origin, _output(result, index)
    if isinstance(at, bool) or not isinstance(at, int) or not 0 <= at <= len(output.token_ids):
        raise ParameterError("at", at, f"a position from 0 to {len(output.token_ids)}, the tokens of this output")
    chosen = () if token is None else ((yield from _token_id(token)),)
    drawn_at = output.index if origin.continuation is None else origin.continuation.index
    begun = Continuation((*output.token_ids[:at], *chosen), drawn_at)
    alone: dict[str, Any] = {"n": 1, "prompt_logprobs": None, "seed": output.seed if seed is None else seed}
    params = origin.params.with_fields(**(alone | fields))
    options = {"continuation": begun, "cache_salt": origin.cache_salt}
    (found,) = yield Call("generate", ([list(origin.prompt_token_ids)], params), options)
    found.tell_prompt(origin.prompt)
    return found


def _output(result: GenerationResult, index: int) -> CompletionOutput:
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < len(result.outputs):
        raise ParameterError("index", index, f"the number of an output, from 0 to {len(result.outputs) - 1}")
    return result.outputs[index]


def _token_id(token: Any) -> Question[int]:
    if isinstance(token, int) and not isinstance(token, bool):
        return token
    if not isinstance(token, str):
        raise ParameterError("token", token, "a token id, or the text of one token")
    ids = yield from tokenized(token, add_special_tokens=False)
    if len(ids) != 1:
        texts = []
        for token_id in ids:
            texts.append((yield from detokenized([token_id])))
        found = ", ".join(f"{token_id} {text!r}" for token_id, text in zip(ids, texts, strict=True)) or "none"
        raise ParameterError("token", token, f"the text of one token; these are {len(ids)}: {found}")
    return ids[0]
