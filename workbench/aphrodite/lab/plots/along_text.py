"""Numbers along a text: how likely each token was, how undecided the model, how surprised."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from aphrodite.lab.plots.frame import Row, column, rows_of
from aphrodite.lab.plots.look import figure, line, safe, token_axis
from aphrodite_engine.errors import ParameterError
from aphrodite_engine.visible import visible

#: Tokens that a moving mean takes in.
_MEAN_OF = 16


def token_probabilities(df: Any) -> go.Figure:
    """How likely each token was: as the model had it ("raw") against what it was drawn from ("processed").

    Args:
        df: a row a token of one sequence: position, token, and raw_probability and processed_probability or one
            probability.

    Raises:
        ParameterError: a column is missing, or the rows are of several sequences.
    """
    rows = _one_sequence(df, "token")
    pairs = {"raw_probability": "raw (the model's)", "processed_probability": "processed (drawn from)"}
    names = {name: label for name, label in pairs.items() if name in rows[0]} or {"probability": "probability"}
    if "probability" in names and "probability" not in rows[0]:
        raise ParameterError("df", list(rows[0]), "a data frame with raw_probability, or probability")
    lines = [_line(rows, name, number, label, "{:.2%}") for number, (name, label) in enumerate(names.items())]
    return _along(rows, lines, "probability", yaxis={"tickformat": ".0%", "range": [-0.03, 1.03]})


def token_entropy(df: Any) -> go.Figure:
    """How undecided the model was before each token.

    Args:
        df: a row a token of one sequence: position, token, entropy_nats.

    Raises:
        ParameterError: a column is missing, or the rows are of several sequences.
    """
    rows = _one_sequence(df, "token", "entropy_nats")
    lines = [_line(rows, "entropy_nats", 0, "entropy", "{:.3f} nats")]
    return _along(rows, lines, "entropy (nats)", yaxis={"rangemode": "tozero"})


def perplexity(df: Any) -> go.Figure:
    """How surprising each token of a text was, and the mean over the last 16.

    Args:
        df: of a Perplexity, or a row a token: position, token, logprob (nats).

    Raises:
        ParameterError: a column is missing, or the rows are of several sequences.
    """
    rows = _one_sequence(df, "token", "logprob")
    for row, mean in zip(rows, _moving_means([-row["logprob"] for row in rows]), strict=True):
        row |= {"surprise": -row["logprob"], "mean": mean}
    lines = [
        _line(rows, "surprise", 0, "token", "{:.3f} nats"),
        _line(rows, "mean", 1, f"mean of {_MEAN_OF}", "{:.3f} nats on average", mode="lines"),
    ]
    return _along(rows, lines, "surprise, -log p (nats)", yaxis={"rangemode": "tozero"})


def _one_sequence(df: Any, *needed: str) -> list[Row]:
    rows = rows_of(df, ("position", *needed))
    if len(set(column(rows, "position"))) < len(rows):
        raise ParameterError("df", f"{len(rows)} rows", "the rows of one sequence, where no position comes twice")
    return rows


def _line(rows: Sequence[Row], name: str, number: int, label: str, form: str, **more: Any) -> go.Scatter:
    values = column(rows, name)
    hover = [
        f"{safe(visible(row['token']))}<br>position {row['position']}<br>{label}: {_told(value, form)}"
        for row, value in zip(rows, values, strict=True)
    ]
    return line(label, number, column(rows, "position"), values, hover, **more)


def _told(value: float | None, form: str) -> str:
    return "unknown" if value is None else form.format(value)


def _along(rows: Sequence[Row], lines: Sequence[go.Scatter], y: str, **layout: Any) -> go.Figure:
    found = figure(lines, "", y, **layout)
    return found.update_layout(token_axis(column(rows, "position"), column(rows, "token")), hoverdistance=40)


def _moving_means(values: Sequence[float]) -> list[float]:
    starts = [max(0, place + 1 - _MEAN_OF) for place in range(len(values))]
    return [sum(values[start : place + 1]) / (place + 1 - start) for place, start in enumerate(starts)]
