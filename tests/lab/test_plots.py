"""Figures say what the frames say, from real numbers, with what plotly.js 3 and 4 share."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import pytest

from aphrodite.display.palette import CLEAR, GREY
from aphrodite.lab import plots
from aphrodite_engine.errors import ParameterError
from aphrodite_engine.visible import visible
from tests.browser.chromium import look
from tests.lab.conftest import Measured

#: Every figure, from what was measured.
FIGURES: dict[str, Callable[[Measured], go.Figure]] = {
    "token probabilities": lambda m: plots.token_probabilities(m.tokens),
    "token entropy": lambda m: plots.token_entropy(m.tokens),
    "perplexity": lambda m: plots.perplexity(m.surprise),
    "stages": lambda m: plots.stages(m.next.df),
    "survival": lambda m: plots.survival(m.next.stages_df),
    "survival of many": lambda m: plots.survival(m.drawn.trace.df),
    "candidates": lambda m: plots.candidates(m.next.df),
    "scores": lambda m: plots.scores(m.scores),
    "lens": lambda m: plots.lens(m.layers),
}


@pytest.fixture(params=FIGURES.values(), ids=list(FIGURES))
def made(request: pytest.FixtureRequest, measured: Measured) -> go.Figure:
    return request.param(measured)


def traces(figure: go.Figure) -> list[Any]:
    return list(figure.data)  # type: ignore[arg-type]


def layout(figure: go.Figure) -> dict[str, Any]:
    return figure.to_plotly_json()["layout"]


# ---- all of them


def test_a_figure_lets_the_page_show_through_and_uses_traces_both_versions_know(made: go.Figure) -> None:
    shared = layout(made)["template"]["layout"]
    assert shared["paper_bgcolor"] == shared["plot_bgcolor"] == CLEAR
    assert shared["font"]["color"] == GREY
    assert "sendChartToCloud" in shared["modebar"]["remove"]
    assert {trace.type for trace in traces(made)} <= {"scatter", "bar", "heatmap"}


def test_axes_have_titles_and_what_is_measured_has_its_unit(made: go.Figure) -> None:
    found = layout(made)
    titles = [axis.get("title", {}).get("text") for name, axis in found.items() if name.startswith(("xaxis", "yaxis"))]
    told = [*titles, *(note["text"] for note in found.get("annotations", []))]
    assert any(title for title in told)
    units = ("nats", "probability", "tokens", "layer", "position", "%", "log scale")
    assert any(unit in title for title in told if title for unit in units)


def test_no_token_is_read_as_markup_or_left_unseen(made: go.Figure) -> None:
    text = repr(made.to_plotly_json())  # to_json() would write "<" as a code
    assert "<b>" not in text and "' fox" not in text


def test_series_differ_by_more_than_colour(made: go.Figure) -> None:
    lines = [trace for trace in traces(made) if trace.type == "scatter"]
    looks = [(trace.line.dash, str(trace.marker.symbol)) for trace in lines]
    assert len(set(looks)) == len(looks)
    assert len({trace.line.color for trace in lines}) == len(lines)


# ---- each


def test_probabilities_are_those_of_the_tokens(measured: Measured) -> None:
    raw, processed = traces(plots.token_probabilities(measured.tokens))
    assert list(raw.y) == measured.tokens.raw_probability.tolist()
    assert list(processed.y) == measured.tokens.processed_probability.tolist()
    labels = layout(plots.token_probabilities(measured.tokens))["xaxis"]["ticktext"]
    assert labels[0] == visible(measured.tokens.token[0]) and len(labels) == len(measured.tokens)
    (alone,) = traces(plots.token_probabilities(measured.tokens[["position", "token", "probability"]]))
    assert list(alone.y) == measured.tokens.probability.tolist()


def test_entropy_is_that_of_the_tokens(measured: Measured) -> None:
    (line,) = traces(plots.token_entropy(measured.tokens))
    assert list(line.y) == measured.tokens.entropy_nats.tolist()


def test_surprise_is_minus_the_logprob_and_its_mean_moves(measured: Measured) -> None:
    token, mean = traces(plots.perplexity(measured.surprise))
    assert list(token.y) == [-value for value in measured.surprise.logprob]
    assert mean.y[-1] == pytest.approx(-measured.surprise.logprob[-16:].mean())
    assert mean.y[2] == pytest.approx(-measured.surprise.logprob[:3].mean())
    assert "ticktext" not in layout(plots.perplexity(measured.surprise))["xaxis"]  # too many to be read


def test_stages_show_what_is_left_and_hatch_what_is_gone(measured: Measured) -> None:
    figure = plots.stages(measured.next.df)
    bars = traces(figure)
    assert len(bars) == 2 * len(measured.next.stages)
    first, last = measured.next.stages[0], measured.next.stages[-1]
    ids = [candidate.token_id for candidate in first.top]
    assert list(bars[0].x) == [candidate.probability for candidate in first.top]
    left = {candidate.token_id: candidate.probability for candidate in last.top}
    assert list(bars[-2].x) == [left.get(token_id) for token_id in ids]
    gone = [place for place, token_id in enumerate(ids) if token_id not in left]
    assert gone and [bars[-1].x[place] is not None for place in gone] == [True] * len(gone)
    assert bars[-1].marker.pattern.shape == "/" and bars[-2].marker.pattern.shape is None
    titles = [note["text"] for note in layout(figure)["annotations"]]
    assert titles[: len(measured.next.stages)] == [stage.name for stage in measured.next.stages]


def test_a_stage_that_comes_twice_has_two_panels(measured: Measured) -> None:
    df = measured.next.df
    twice = pd.concat([df[df.stage == "top_k"].assign(step=0), df[df.stage == "top_k"].assign(step=1)])
    assert [note["text"] for note in layout(plots.stages(twice))["annotations"]][:2] == ["top_k", "top_k (2)"]


def test_survival_counts_down(measured: Measured) -> None:
    (line,) = traces(plots.survival(measured.next.stages_df))
    assert list(line.y) == measured.next.stages_df.num_possible.tolist()
    assert line.line.shape == "hv" and layout(plots.survival(measured.next.stages_df))["yaxis"]["type"] == "log"
    df = measured.drawn.trace.df
    median, most, fewest = traces(plots.survival(df))
    assert list(most.y) == df.groupby("stage", sort=False).num_possible.max().tolist()
    assert list(fewest.y) == df.groupby("stage", sort=False).num_possible.min().tolist()
    assert all(low <= middle <= high for low, middle, high in zip(fewest.y, median.y, most.y, strict=True))


def test_candidates_keep_their_line_until_they_are_gone(measured: Measured) -> None:
    lines = traces(plots.candidates(measured.next.df, most=4))
    assert len(lines) == 4
    for line in lines:
        known = measured.next.df[measured.next.df.token.map(visible) == line.name]
        assert [value for value in line.y if value is not None] == known.probability.tolist()
    ended = [line for line in lines if line.y[-1] is None]
    assert ended and all("x-thin" in line.marker.symbol for line in ended)


def test_scores_are_in_order_and_the_best_is_filled(measured: Measured) -> None:
    (bars,) = traces(plots.scores(measured.scores))
    assert list(bars.x) == sorted(measured.scores.total_nats, reverse=True)
    assert list(bars.marker.pattern.shape) == ["", "/", "/", "/"]
    (means,) = traces(plots.scores(measured.scores, by="mean_nats"))
    assert list(means.x) == sorted(measured.scores.mean_nats, reverse=True)


def test_a_lens_has_a_cell_a_layer_and_position(measured: Measured) -> None:
    figure = plots.lens(measured.layers)
    (cells,) = traces(figure)
    best = measured.layers[measured.layers["rank"] == 1].set_index(["layer", "position"])
    layers, positions = sorted(set(measured.layers.layer)), sorted(set(measured.layers.position))
    assert [list(row) for row in cells.z] == [[best.probability[layer, p] for p in positions] for layer in layers]
    assert cells.text[-1][-1] == visible(best.token_text[layers[-1], positions[-1]])
    assert layout(figure)["xaxis"]["ticktext"][1] == "Once"


# ---- frames


def test_any_data_frame_will_do(measured: Measured) -> None:
    arrow = pytest.importorskip("pyarrow").Table.from_pandas(measured.tokens)
    assert plots.token_entropy(arrow).to_json() == plots.token_entropy(measured.tokens).to_json()


WRONG: dict[str, tuple[Callable[[Measured], object], str]] = {
    "no frame": (lambda m: plots.token_entropy([1, 2]), "a data frame of pandas, polars or Arrow"),
    "no rows": (lambda m: plots.token_entropy(m.tokens[:0]), "at least one row"),
    "no column": (lambda m: plots.token_entropy(m.tokens[["position", "token"]]), "position, token, entropy_nats"),
    "no probability": (lambda m: plots.token_probabilities(m.tokens[["position", "token"]]), "raw_probability"),
    "two sequences": (lambda m: plots.token_entropy(pd.concat([m.tokens, m.tokens])), "one sequence"),
    "many positions": (lambda m: plots.stages(m.drawn.trace.candidates_df), "one position"),
    "by what": (lambda m: plots.scores(m.scores, by="rank"), "total_nats or mean_nats"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize(("call", "said"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_named(measured: Measured, call: Callable[[Measured], object], said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        call(measured)


def test_one_position_of_a_trace_has_its_stages(measured: Measured) -> None:
    df = measured.drawn.trace.candidates_df
    assert len(traces(plots.stages(df[df.position == 3]))) >= 2


def test_naming_the_figures_loads_no_plotly() -> None:
    code = "import sys, aphrodite.lab.plots as p; dir(p); sys.exit('plotly' in sys.modules or 'pandas' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


# ---- in a browser


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["page", "dark_page"])
def test_figures_are_drawn_without_a_network(
    request: pytest.FixtureRequest, measured: Measured, console_errors: list[str], scheme: str
) -> None:
    page = request.getfixturevalue(scheme)
    made = [figure(measured) for figure in FIGURES.values()]
    figures = [figure.to_html(full_html=False, include_plotlyjs=not place) for place, figure in enumerate(made)]
    style = "<style>:root{color-scheme:light dark} @media (prefers-color-scheme:dark){body{background:#111}}</style>"
    page.set_content(f"<body>{style}{''.join(figures)}</body>")
    page.wait_for_function(f"document.querySelectorAll('.main-svg').length >= {len(FIGURES)}")
    assert console_errors == []
    assert page.locator("[data-title*='Share']").count() == 0
    assert page.locator("[data-title*='Download']").count() == len(FIGURES)
    look(page, f"figures-{scheme}")
