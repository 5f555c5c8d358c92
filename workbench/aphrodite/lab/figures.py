"""The figures of one generation, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

from aphrodite.display.generation import Generation
from aphrodite.display.trace import Trace
from aphrodite.lab import plots
from aphrodite_engine.errors import ParameterError

if TYPE_CHECKING:  # plotly takes half a second, which a figure pays
    import plotly.graph_objects as go

Kind = Literal["probabilities", "entropy", "survival", "stages", "candidates"]


def figure(generation: Generation, kind: Kind = "probabilities", *, index: int = 0, position: int = 0) -> go.Figure:
    """One sequence of a generation as a figure.

    Args:
        kind: "probabilities" and "entropy" run along its tokens (they need logprobs); "survival" is of all its tokens,
            "stages" and "candidates" are of one (they need a trace).
        index: of the sequence.
        position: of the token, for "stages" and "candidates".

    Raises:
        ParameterError: another kind, a sequence or a position that is not there, or what the request did not ask for.
    """
    if kind not in get_args(Kind):
        raise ParameterError("kind", kind, ", ".join(get_args(Kind)))
    outputs = generation.result.outputs
    if index not in range(len(outputs)):
        raise ParameterError("index", index, f"0 to {len(outputs) - 1}, the sequences of this generation")
    if kind in ("probabilities", "entropy"):
        return _along(generation, kind, index)
    return _through(generation, kind, index, position)


def _along(generation: Generation, kind: Kind, index: int) -> go.Figure:
    if generation.result.outputs[index].logprobs is None:
        raise ParameterError("logprobs", None, f"logprobs=0 or more in the request, which kind={kind!r} needs")
    df = generation.tokens_df
    own = df[df["index"] == index]
    return plots.token_probabilities(own) if kind == "probabilities" else plots.token_entropy(own)


def _through(generation: Generation, kind: Kind, index: int, position: int) -> go.Figure:
    output = generation.result.outputs[index]
    if output.traces is None:
        raise ParameterError("trace", None, f"trace=5 in the request, which kind={kind!r} needs")
    if kind == "survival":
        return plots.survival(Trace(output).df)
    df: Any = Trace(output).candidates_df
    if position not in set(df["position"]):
        raise ParameterError("position", position, f"that of a token that was drawn, below {len(output.token_ids)}")
    own = df[df["position"] == position]
    return plots.stages(own) if kind == "stages" else plots.candidates(own)
