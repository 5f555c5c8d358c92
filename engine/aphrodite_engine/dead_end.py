"""Why a sequence cannot go on, as the error that its request ends with."""

from __future__ import annotations

from aphrodite_engine.errors import ModelError, ParameterError
from aphrodite_engine.request import Sequence

_NO_LOGITS = (
    "the model gave no usable logits: every one is NaN or -inf. Its weights may be damaged, or float16 too narrow for "
    "it (try dtype=bfloat16 or float32)"
)


def is_lost(sequence: Sequence) -> bool:
    """Its grammar went beyond a limit, so that nothing is known of what may come."""
    return sequence.grammar is not None and sequence.grammar.problem is not None


def dead_end(sequence: Sequence) -> Exception:
    """Of a sequence that is lost, or for which no token is possible: what of the request, or of the model, did it."""
    request = sequence.request
    if sequence.grammar is not None and sequence.grammar.problem is not None:
        return _grammar_error(sequence, sequence.grammar.problem)
    if sequence.redraws is not None and (tried := sequence.redraws.bans(len(sequence.token_ids))):
        allowed = f"fewer of them: all tokens that were possible or tried here ({len(tried)}) lead to one"
        return ParameterError("banned_phrases", list(request.params.banned_phrases), allowed)
    if request.bad_words:
        return ParameterError("bad_words", request.params.bad_words, "fewer of them: no other token is possible here")
    if sequence.grammar is None or request.params.allowed_token_ids is None:
        return ModelError(_NO_LOGITS)
    return _grammar_error(sequence, "allowed_token_ids leaves none of the tokens that the grammar allows here")


def not_allowed(sequence: Sequence, text: str) -> ParameterError:
    """Of a sequence whose newest token was given and does not follow its grammar."""
    name = f"continuation.token_ids[{sequence.num_output - 1}]"
    return ParameterError(name, sequence.token_ids[-1], f"a token that structured_outputs allows there, not {text!r}")


def _grammar_error(sequence: Sequence, problem: str) -> ParameterError:
    return ParameterError("structured_outputs", sequence.request.params.structured_outputs, problem)
