"""Results made by hand: tokens with their probabilities, as an engine reports them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from aphrodite.display.forks import Fork
from aphrodite.display.generation import Generation
from aphrodite.display.shade import Shade
from aphrodite_engine.outputs import CompletionOutput, FinishReason, GenerationResult, Logprob, PositionLogprobs, Timing
from aphrodite_engine.visible import visible

#: A token's text, its probability, and the entropy at its place.
Made = tuple[str, float, float]

STORY: list[Made] = [("Once", 1.0, 0.0), (" upon", 0.9, 0.4), (" a", 0.25, 2.0), (" fox", 0.01, 5.0)]


def position(token_id: int, text: str, probability: float, entropy: float | None) -> PositionLogprobs:
    """The token, and one more that takes what it leaves."""
    drawn = Logprob(math.log(probability), 1 if probability >= 0.5 else 2, text, entropy)
    if probability == 1:
        return {token_id: drawn}
    return {token_id: drawn, 999: Logprob(math.log1p(-probability), 3 - drawn.rank, " else")}


def output(
    tokens: Sequence[Made] = STORY, text: str | None = None, index: int = 0, finish: FinishReason | None = "stop"
) -> CompletionOutput:
    """A sequence; its text is its tokens' unless it is given."""
    whole = "".join(each for each, _, _ in tokens) if text is None else text
    positions = [position(place, *token) for place, token in enumerate(tokens)]
    return CompletionOutput(index, 7, whole, list(range(len(tokens))), positions, finish)


def generation(
    *outputs: CompletionOutput, prompt: str | None = "Say", shade: Shade = "probability", model: str = "demo"
) -> Generation:
    """What a prompt gave."""
    found = list(outputs) or [output()]
    return Generation(GenerationResult("a", prompt, [1, 2], found, timing=Timing(1, 2, 30)), model, {"seed": 7}, shade)


def branch(of: Generation, at: int, tokens: Sequence[Made], forced: str | None = " cat") -> Generation:
    """What is branched off before token `at`: the tokens before it, one that was given there, and drawn ones."""
    kept = [token.text for token in of.result.outputs[0].tokens[:at]]
    given = (*kept, *([forced] if forced else []))
    own = output(tokens)
    ids, positions = [*range(len(given)), *own.token_ids], [*({} for _ in given), *(own.logprobs or ())]
    made = CompletionOutput(0, 7, "".join(given) + own.text, ids, positions, "stop", given=given)
    found = generation(made)
    found.fork = Fork(0, at, visible(forced) if forced else "seed 8")
    of.branches.append(found)
    return found
