"""The figures of one generation, by name."""

from __future__ import annotations

from typing import Any

import pytest

from aphrodite.display.generation import Generation
from aphrodite.lab import figure, plots
from aphrodite.local import LocalSession
from aphrodite_engine.errors import ParameterError
from tests.lab.conftest import Measured


def test_each_kind_is_the_plot_of_that_name(measured: Measured) -> None:
    drawn, third = measured.drawn, measured.drawn.trace.candidates_df.query("position == 3")
    assert figure(drawn) == plots.token_probabilities(drawn.tokens_df)
    assert drawn.figure() == figure(drawn) and drawn.figure("stages", position=3) == figure(drawn, "stages", position=3)
    assert figure(drawn, "entropy") == plots.token_entropy(drawn.tokens_df)
    assert figure(drawn, "survival") == plots.survival(drawn.trace.df)
    assert figure(drawn, "stages", position=3) == plots.stages(third)
    assert figure(drawn, "candidates", position=3) == plots.candidates(third)


def test_a_sequence_of_several(demo: LocalSession) -> None:
    both = Generation(demo.generate("Once", n=2, seed=1, max_tokens=3, logprobs=0)[0], "demo", {})
    line: Any = next(iter(figure(both, index=1).data))
    assert list(line.y) == [token.raw_probability for token in both.result.outputs[1].tokens]


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"kind": "colours"}, "kind"),
        ({"index": 1}, "index"),
        ({"kind": "stages", "position": 40}, "position"),
    ],
)
def test_what_is_wrong_is_named(measured: Measured, arguments: dict[str, Any], field: str) -> None:
    with pytest.raises(ParameterError) as caught:
        figure(measured.drawn, **arguments)
    assert caught.value.field == field


def test_what_the_request_did_not_ask_for_is_named(demo: LocalSession) -> None:
    plain = Generation(demo.generate("Once", max_tokens=2)[0], "demo", {})
    with pytest.raises(ParameterError, match="logprobs=0 or more"):
        figure(plain)
    with pytest.raises(ParameterError, match="trace=5"):
        figure(plain, "stages")
