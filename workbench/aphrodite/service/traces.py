"""Traces of sampling as every route gives them: `traces` of a choice, a list of stages for each token it drew.

The shape is documented where it is defined (`aphrodite.generated.Stage`), and from there in the OpenAPI document.
"""

from __future__ import annotations

from collections.abc import Sequence

from aphrodite.generated import Stage, StageToken
from aphrodite.service.engines import boundary

#: Of each token, its stages in order; the last is what it was drawn from.
Traces = list[list[Stage]]


def traces_of(token: boundary.Token) -> Traces | None:
    """Those of a step's news; None where none were asked for."""
    return None if token.traces is None else [[_stage(stage) for stage in stages] for stages in token.traces]


def _stage(stage: boundary.Stage) -> Stage:
    return Stage(stage.name, stage.num_possible, stage.drawn, _tokens(stage.top), stage.coin)


def _tokens(top: Sequence[tuple[int, float, str]]) -> list[StageToken]:
    return [StageToken(*found) for found in top]
