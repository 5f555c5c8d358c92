"""What sampling did, stage by stage: a row a token, a column a stage."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from aphrodite.display.stages import Drawn, Stages
from aphrodite_engine.outputs import CompletionOutput, PositionTrace, TraceStage
from aphrodite_engine.visible import visible

if TYPE_CHECKING:  # pandas takes half a second that only `.df` pays
    import pandas as pd

#: Rows shown of a long text; `.df` has all.
_SHOWN = 100
_CELL = "text-align:right;padding:.15em .6em;white-space:nowrap"


class Trace(Sequence[PositionTrace]):
    """The stages of every token of one sequence; `trace[3]` are those of its fourth token.

    Args:
        output: of a request with `trace`.

    Raises:
        ValueError: the request asked for none.
    """

    def __init__(self, output: CompletionOutput) -> None:
        if output.traces is None:
            raise ValueError("no stages were reported; ask with trace=5, or --trace 5")
        self._positions, self._ids, self._tokens = output.traces, output.token_ids, output.tokens

    def __getitem__(self, place: Any) -> Any:
        return self._positions[place]

    def __len__(self) -> int:
        return len(self._positions)

    def at(self, position: int) -> Stages:
        """The stages of one token as small multiples.

        Raises:
            ValueError: no such position, or a token that was given and not drawn.
        """
        if not 0 <= position < len(self) or not self._positions[position]:
            drawn = [place for place, stages in enumerate(self._positions) if stages]
            raise ValueError(f"position={position}: a token that was drawn, from {drawn[0]} to {drawn[-1]}")
        stages, text = self._positions[position], self._text(position)
        return Stages(stages, Drawn(self._ids[position], text, tuple(stage.drawn for stage in stages)))

    @property
    def stages(self) -> list[str]:
        """Names of the stages, in order."""
        return list(dict.fromkeys(stage.name for position in self._positions for stage in position))

    @property
    def df(self) -> pd.DataFrame:
        """One row a token and stage: position, token_id, stage, num_possible, removed, probability (of the token that
        was drawn in the end), coin."""
        import pandas as pd

        return pd.DataFrame([row for place in range(len(self)) for row in self._rows(place)])

    @property
    def candidates_df(self) -> pd.DataFrame:
        """One row a token, stage and candidate: position, stage, rank, token_id, token, probability."""
        import pandas as pd

        rows = [
            {"position": place, "stage": stage.name, "rank": rank, "token_id": candidate.token_id,
             "token": candidate.decoded_token, "probability": candidate.probability}
            for place, position in enumerate(self._positions)
            for stage in position
            for rank, candidate in enumerate(stage.top, start=1)
        ]  # fmt: skip
        return pd.DataFrame(rows)

    def _rows(self, place: int) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        before = self._positions[place][0].num_possible if self._positions[place] else 0
        for stage in self._positions[place]:
            rows.append({
                "position": place, "token_id": self._ids[place], "stage": stage.name,
                "num_possible": stage.num_possible, "removed": before - stage.num_possible,
                "probability": stage.drawn, "coin": stage.coin,
            })  # fmt: skip
            before = stage.num_possible
        return rows

    def __repr__(self) -> str:
        return f"Trace of {len(self)} tokens through {' > '.join(self.stages)}"

    def _repr_html_(self) -> str:
        names = self.stages
        head = "".join(f'<th style="{_CELL}">{escape(name)}</th>' for name in ("token", *names))
        body = "".join(self._line(place, names) for place in range(min(len(self), _SHOWN)))
        more = f"<div>... and {len(self) - _SHOWN} tokens more, see .df</div>" if len(self) > _SHOWN else ""
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"

    def _line(self, place: int, names: list[str]) -> str:
        found = {stage.name: stage for stage in self._positions[place]}
        cells = "".join(_cell(found.get(name)) for name in names)
        return f'<tr><td style="{_CELL}">{escape(visible(self._text(place)))}</td>{cells}</tr>'

    def _text(self, place: int) -> str:
        """Of the token; its id where it is too unlikely for any candidate and no logprobs name it."""
        token_id = self._ids[place]
        known = {c.token_id: c.decoded_token for stage in self._positions[place] for c in stage.top}
        return self._tokens[place].text or known.get(token_id, f"#{token_id}")


def _cell(stage: TraceStage | None) -> str:
    """The drawn token's probability, shaded by it; hovering shows what was left and what led."""
    if stage is None:
        return "<td></td>"
    left = f"{stage.num_possible:,} possible" + ("" if stage.coin is None else f", coin {stage.coin:.3f}")
    told = "\n".join([left, *(f"{visible(c.decoded_token)}  {c.probability:.1%}" for c in stage.top)])
    shade = f"background:rgba(0,150,136,{0.55 * stage.drawn:.2f})"
    return f'<td style="{_CELL};{shade}" title="{escape(told)}">{stage.drawn:.1%}</td>'
