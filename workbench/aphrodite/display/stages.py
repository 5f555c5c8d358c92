"""One draw, stage by stage: which tokens led, which a stage removed, what its coin showed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from aphrodite.display import stages_picture
from aphrodite_engine.outputs import StageCandidate
from aphrodite_engine.visible import visible

if TYPE_CHECKING:  # pandas and plotly take half a second that only `.df` and `.figure()` pay
    import pandas as pd
    import plotly.graph_objects as go

#: More rows are hard to follow from panel to panel; `.df` has all.
_ROWS = 10


class Fate(StrEnum):
    """What a stage left of a token."""

    POSSIBLE = "possible"
    #: By this stage.
    REMOVED = "removed"
    #: By an earlier one.
    GONE = "gone"
    #: It is not among the reported ones, which are the most likely.
    BELOW = "below"


class Stage(Protocol):
    """The distribution behind one stage, as a trace and `next_token` have it."""

    @property
    def name(self) -> str: ...
    @property
    def num_possible(self) -> int: ...
    @property
    def top(self) -> Sequence[StageCandidate]: ...
    @property
    def coin(self) -> float | None: ...


@dataclass(frozen=True)
class Drawn:
    """The token that was drawn in the end, and its probability behind each stage."""

    token_id: int
    text: str
    probabilities: tuple[float, ...]


@dataclass(frozen=True)
class Bar:
    """One token behind one stage.

    Attributes:
        probability: None where it was not reported.
        before: the same behind the stage before.
    """

    fate: Fate
    probability: float | None
    before: float | None = None


@dataclass(frozen=True)
class Row:
    """One token through all stages."""

    token_id: int
    text: str
    is_drawn: bool
    bars: tuple[Bar, ...]


class Stages:
    """The stages of one draw as small multiples: a panel a stage, a bar a token, the same tokens in every panel.

    Args:
        stages: in their order; the first is the model's own distribution.
        drawn: None where nothing was drawn.

    Raises:
        ValueError: no stage at all.
    """

    def __init__(self, stages: Sequence[Stage], drawn: Drawn | None = None) -> None:
        if not stages:
            raise ValueError("stages: at least one is needed")
        self.stages, self.drawn = tuple(stages), drawn

    @property
    def rows(self) -> list[Row]:
        """The tokens that led anywhere, the model's favourite first; the drawn one is always among them."""
        texts = {c.token_id: c.decoded_token for stage in self.stages for c in stage.top}
        ids = list(texts)
        if self.drawn is not None:
            texts.setdefault(self.drawn.token_id, self.drawn.text)
            ids = _with(ids[:_ROWS], self.drawn.token_id)
        return [self._row(token_id, texts[token_id]) for token_id in ids[:_ROWS]]

    @property
    def df(self) -> pd.DataFrame:
        """One row a stage and token: step, stage, token_id, token, probability, fate (possible, removed by this stage,
        gone before, below what was reported), num_possible, coin."""
        import pandas as pd

        return pd.DataFrame([
            {"step": step, "stage": stage.name, "token_id": row.token_id, "token": row.text,
             "probability": row.bars[step].probability, "fate": str(row.bars[step].fate),
             "num_possible": stage.num_possible, "coin": stage.coin}
            for step, stage in enumerate(self.stages)
            for row in self.rows
        ])  # fmt: skip

    def figure(self) -> go.Figure:
        """The same with plotly, to hover over."""
        import pandas as pd

        from aphrodite.lab import plots

        rows = [
            {"step": step, "stage": stage.name, "rank": rank, "token_id": candidate.token_id,
             "token": candidate.decoded_token, "probability": candidate.probability}
            for step, stage in enumerate(self.stages)
            for rank, candidate in enumerate(stage.top, start=1)
        ]  # fmt: skip
        return plots.stages(pd.DataFrame(rows))

    @property
    def svg(self) -> str:
        """The picture, without script or style sheet."""
        return stages_picture.draw(self.stages, self.rows)

    def __repr__(self) -> str:
        rows = self.rows
        head = ["", *(stage.name for stage in self.stages)]
        possible = ["possible", *(f"{stage.num_possible:,}" for stage in self.stages)]
        coins = ["coin", *("" if s.coin is None else f"{s.coin:.3f}" for s in self.stages)]
        lines = [head, possible, *([coins] if any(coins[1:]) else []), *map(_line, rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(_aligned(line, widths) for line in lines)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        return {"image/svg+xml": self.svg, "text/plain": repr(self)}

    def _row(self, token_id: int, text: str) -> Row:
        is_drawn = self.drawn is not None and token_id == self.drawn.token_id
        known = self.drawn.probabilities if self.drawn is not None and is_drawn else None
        bars: list[Bar] = []
        for step, stage in enumerate(self.stages):
            before = bars[-1] if bars else None
            fewer = bool(bars) and stage.num_possible < self.stages[step - 1].num_possible
            bars.append(_bar(stage, token_id, before, fewer, None if known is None else known[step]))
        return Row(token_id, text, is_drawn, tuple(bars))


def _bar(stage: Stage, token_id: int, before: Bar | None, fewer: bool, known: float | None) -> Bar:
    """A token that led and is not reported any more was removed, if the stage removed any; else it fell behind."""
    found = next((c.probability for c in stage.top if c.token_id == token_id), known)
    last = None if before is None else before.probability
    if found:
        return Bar(Fate.POSSIBLE, found, last)
    if before is not None and before.fate in (Fate.REMOVED, Fate.GONE):
        return Bar(Fate.GONE, 0.0)
    was_there = before is None or before.probability is not None
    if len(stage.top) >= stage.num_possible or found == 0 or (was_there and fewer):
        return Bar(Fate.REMOVED, 0.0, last)
    return Bar(Fate.BELOW, None, last)


def _with(ids: list[int], token_id: int) -> list[int]:
    """The same with this one among them, in the last place if it has none."""
    return ids if token_id in ids else [*ids[: _ROWS - 1], token_id]


def _line(row: Row) -> list[str]:
    return [("● " if row.is_drawn else "  ") + visible(row.text), *map(_told, row.bars)]


def _told(bar: Bar) -> str:
    if bar.probability:
        return f"{bar.probability:.1%}"
    return {Fate.REMOVED: "removed", Fate.GONE: "-"}.get(bar.fate, "...")


def _aligned(line: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = (word.ljust(width) for word, width in zip(line, widths, strict=True))
    return "  ".join([first, *(word.rstrip().rjust(len(word)) for word in others)]).rstrip()
