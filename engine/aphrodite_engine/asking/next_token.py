"""What may come next: the distribution of one position, before sampling and behind each of its stages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aphrodite_engine.asking.question import Question, generated, reading
from aphrodite_engine.asking.table import percent, table
from aphrodite_engine.errors import ParameterError
from aphrodite_engine.outputs import StageCandidate, TraceStage
from aphrodite_engine.param_checks import Range
from aphrodite_engine.params import MAX_LOGPROBS, SamplingParams
from aphrodite_engine.prompts import Message, Prompt
from aphrodite_engine.visible import visible

if TYPE_CHECKING:  # pandas takes half a second that only `.df` pays
    import pandas as pd


@dataclass(frozen=True)
class Stage:
    """The distribution behind one stage of sampling.

    Attributes:
        name: "model" (before any), "constraints", a step's name, "mirostat" or "adaptive_p".
        num_possible: tokens that still can be drawn.
        top: the most likely of them, the most likely first.
        coin: what a step that tosses one tossed, in (0, 1).
    """

    name: str
    num_possible: int
    top: tuple[StageCandidate, ...]
    coin: float | None = None


@dataclass(frozen=True)
class NextToken:
    """What may follow a prompt.

    Attributes:
        prompt_token_ids: what the model read.
        stages: the first is the model's own distribution, the last what a token would be drawn from.
        seed: of the steps that toss a coin.
    """

    prompt_token_ids: tuple[int, ...]
    stages: tuple[Stage, ...]
    seed: int

    @property
    def raw(self) -> tuple[StageCandidate, ...]:
        """The most likely tokens as the model has them."""
        return self.stages[0].top

    @property
    def final(self) -> tuple[StageCandidate, ...]:
        """The most likely tokens of what would be drawn from."""
        return self.stages[-1].top

    @property
    def df(self) -> pd.DataFrame:
        """One row a stage and candidate: step (of the stage, from 0), stage, rank, token_id, token, probability."""
        import pandas as pd

        rows = [
            {"step": step, "stage": stage.name, "rank": rank, "token_id": candidate.token_id,
             "token": candidate.decoded_token, "probability": candidate.probability}
            for step, stage in enumerate(self.stages)
            for rank, candidate in enumerate(stage.top, start=1)
        ]  # fmt: skip
        return pd.DataFrame(rows)

    @property
    def stages_df(self) -> pd.DataFrame:
        """One row a stage: step, stage, num_possible, removed (by this stage), coin."""
        import pandas as pd

        before = (self.stages[0], *self.stages)
        rows = [
            {"step": step, "stage": stage.name, "num_possible": stage.num_possible,
             "removed": before[step].num_possible - stage.num_possible, "coin": stage.coin}
            for step, stage in enumerate(self.stages)
        ]  # fmt: skip
        return pd.DataFrame(rows)

    def __repr__(self) -> str:
        likely = ", ".join(f"{visible(c.decoded_token)} {percent(c.probability)}" for c in self.final[:5])
        left = " > ".join(f"{stage.name} {stage.num_possible:,}" for stage in self.stages)
        return f"{likely}\n{left} possible"

    def _repr_html_(self) -> str:
        """A row a token, a column a stage: its probability behind the stage, "-" where it is not among the top."""
        known = [{c.token_id: c.probability for c in stage.top} for stage in self.stages]
        tokens = {c.token_id: visible(c.decoded_token) for stage in self.stages[::-1] for c in stage.top}
        rows = [
            (text, *(percent(found[token_id]) if token_id in found else "-" for found in known))
            for token_id, text in tokens.items()
        ]
        possible = ("possible", *(f"{stage.num_possible:,}" for stage in self.stages))
        return table(("token", *(stage.name for stage in self.stages)), [possible, *rows])


def next_token(prompt: Prompt | Sequence[Message], params: SamplingParams | None, top: int) -> Question[NextToken]:
    """The stages of one draw that is thrown away.

    Raises:
        ParameterError: params or top out of range.
    """
    asked = _one_draw(params, top)
    read = yield from reading(prompt)
    (result,) = yield from generated([read.token_ids], asked)
    (trace,) = result.outputs[0].traces or [()]
    return NextToken(tuple(result.prompt_token_ids), tuple(map(_stage, trace)), result.seed)


def _one_draw(params: SamplingParams | None, top: int) -> SamplingParams:
    if params is not None and not isinstance(params, SamplingParams):
        raise ParameterError("params", params, "a SamplingParams")
    Range(1, MAX_LOGPROBS, whole=True).check("top", top)
    own = params or SamplingParams()
    return own.with_fields(
        n=1,
        max_tokens=1,
        min_tokens=min(own.min_tokens, 1),
        seed=0 if own.seed is None else own.seed,
        trace=top,
        logprobs=None,
        prompt_logprobs=None,
    )


def _stage(stage: TraceStage) -> Stage:
    return Stage(stage.name, stage.num_possible, stage.top, stage.coin)
