"""Charts: one set of numbers, two ways to show it."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any
from xml.etree import ElementTree

import pytest
from plotly import graph_objects as go

from aphrodite.display.chart import Chart, bars, lines
from aphrodite.display.chart_picture import ticks

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def chart() -> Chart:
    return lines([1, 2, 4], {"a": [1, 3, 2], "b <&>": [0.5, 0, 9]}, x_title="x < 5", y_title="output_tok_s")


def test_plotly_understands_it_and_has_the_same_numbers(chart: Chart) -> None:
    figure: Any = go.Figure(chart.spec)
    assert [tuple(trace.y) for trace in figure.data] == [(1, 3, 2), (0.5, 0, 9)]
    assert [trace.name for trace in figure.data] == ["a", "b <&>"]
    assert figure.layout.yaxis.title.text == "output_tok_s"


def test_the_picture_has_a_line_a_series_a_point_a_number_and_the_titles(chart: Chart) -> None:
    picture = ElementTree.fromstring(chart.svg)
    assert len(picture.findall(f"{SVG}polyline")) == 2 and len(picture.findall(f"{SVG}circle")) == 6
    texts = [element.text for element in picture.iter(f"{SVG}text")]
    assert {"x < 5", "output_tok_s", "a", "b <&>"} <= set(texts)


def test_a_greater_number_stands_higher_and_inside(chart: Chart) -> None:
    picture = ElementTree.fromstring(chart.svg)
    heights = [float(circle.attrib["cy"]) for circle in picture.iter(f"{SVG}circle")]
    assert heights[1] < heights[2] < heights[0]  # 3, 2, 1
    assert all(0 < height < 320 for height in heights)


def test_every_mark_and_every_bar_stands_between_the_first_and_the_last_line() -> None:
    picture = ElementTree.fromstring(bars(["x", "y"], {"one": [-0.16, 2.3]}, x_title="", y_title="").svg)
    lines_at = [float(line.attrib["y1"]) for line in picture.iter(f"{SVG}line")]
    assert len(lines_at) >= 4 and all(0 < height < 320 for height in lines_at)
    for bar in picture.iter(f"{SVG}rect"):
        top = float(bar.attrib["y"])
        assert min(lines_at) <= top and top + float(bar.attrib["height"]) <= max(lines_at)


def test_a_bar_is_as_high_as_its_number() -> None:
    chart = bars(["x", "y", "z"], {"one": [2, 4, -2]}, x_title="", y_title="")
    rectangles = [e.attrib for e in ElementTree.fromstring(chart.svg).iter(f"{SVG}rect")]
    heights = [float(rectangle["height"]) for rectangle in rectangles]
    assert heights[1] == pytest.approx(2 * heights[0], abs=0.2) and heights[2] == pytest.approx(heights[0], abs=0.2)
    assert float(rectangles[2]["y"]) > float(rectangles[0]["y"])
    assert chart.spec["layout"]["xaxis"]["type"] == "category"


def test_labels_that_have_no_room_side_by_side_slant_and_get_room_below() -> None:
    flat = bars(["a", "b"], {"one": [1, 2]}, x_title="", y_title="").svg
    names = [f"repetition_penalty {i}" for i in range(10)]
    slanting = bars(names, {"one": range(10)}, x_title="", y_title="").svg
    assert "rotate(-30" not in flat and slanting.count("rotate(-30") == 10
    assert float(ElementTree.fromstring(slanting).attrib["height"]) > float(
        ElementTree.fromstring(flat).attrib["height"]
    )


def test_nothing_that_a_code_host_cuts_out(chart: Chart) -> None:
    assert not re.search(r"style|<script|class=|<image|href", chart.svg)
    assert set(chart._repr_mimebundle_()) == {"application/vnd.plotly.v1+json", "image/svg+xml", "text/plain"}


@pytest.mark.parametrize(
    ("x", "values", "said"),
    [([1, 2], [1], "has 1 numbers, x has 2"), ([1], [float("nan")], "finite"), ([], [], "at least one")],
)
def test_what_cannot_be_drawn_is_refused(x: list[float], values: list[float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        lines(x, {"a": values}, x_title="", y_title="")


@pytest.mark.parametrize(
    ("low", "high", "marks"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 4730, [0, 1000, 2000, 3000, 4000, 5000]),
        (5, 5, [5, 6]),
        (0, 0, [0, 0.2]),
    ],
)
def test_marks_are_round_numbers_around_the_values(low: float, high: float, marks: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(marks)


def test_it_needs_no_plotly() -> None:
    code = (
        "import sys; from aphrodite.display.chart import bars; bars([1], {'a': [1]}, x_title='', y_title='').svg; "
        "print([name for name in ('plotly', 'pandas', 'numpy', 'torch') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
