"""Stages of a draw as small multiples: what is known of a token that is not reported any more, and how it looks."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence

import pytest
from playwright.sync_api import Page

from aphrodite.display.stages import Drawn, Fate, Stages
from aphrodite_engine.outputs import StageCandidate, TraceStage
from tests.browser.chromium import look

NAMES = {1: " fox", 2: " <b>", 3: " cat", 4: " dog", 9: " owl"}
SVG = "{http://www.w3.org/2000/svg}"


def stage(
    name: str, num_possible: int, tops: Sequence[tuple[int, float]], drawn: float = 0.0, coin: float | None = None
) -> TraceStage:
    top = tuple(StageCandidate(token_id, probability, NAMES[token_id]) for token_id, probability in tops)
    return TraceStage(name, num_possible, drawn, top, coin)


TRACE = (
    stage("model", 100, [(1, 0.5), (2, 0.2), (3, 0.1)]),
    stage("penalties", 100, [(2, 0.3), (3, 0.2), (4, 0.1)]),
    stage("top_k", 3, [(2, 0.5), (3, 0.3), (4, 0.2)]),
    stage("xtc", 2, [(3, 0.6), (4, 0.4)], coin=0.25),
    stage("skew", 2, [(3, 0.7), (4, 0.3)]),
)


def fates(stages: Stages, token_id: int) -> list[Fate]:
    row = next(row for row in stages.rows if row.token_id == token_id)
    return [bar.fate for bar in row.bars]


def test_what_a_stage_took_is_told_from_what_fell_behind() -> None:
    found = Stages(TRACE)
    assert fates(found, 3) == [Fate.POSSIBLE] * 5
    assert fates(found, 2) == [Fate.POSSIBLE] * 3 + [Fate.REMOVED, Fate.GONE]
    # The penalty took nothing away: the fox is below those reported, until all that is left is.
    assert fates(found, 1) == [Fate.POSSIBLE, Fate.BELOW, Fate.REMOVED, Fate.GONE, Fate.GONE]
    assert fates(found, 4) == [Fate.BELOW, *[Fate.POSSIBLE] * 4]


def test_the_drawn_token_is_there_whatever_led() -> None:
    found = Stages(TRACE, Drawn(9, " owl", (0.01, 0.01, 0.0, 0.0, 0.0)))
    row = next(row for row in found.rows if row.is_drawn)
    assert (row.text, row.bars[0].probability) == (" owl", 0.01)
    assert fates(found, 9) == [Fate.POSSIBLE, Fate.POSSIBLE, Fate.REMOVED, Fate.GONE, Fate.GONE]
    many = stage("model", 100, [(place, 0.05) for place in (1, 2, 3, 4)] * 4)
    assert sum(row.is_drawn for row in Stages([many], Drawn(9, " owl", (0.01,))).rows) == 1


def test_the_table_has_a_row_a_stage_and_token() -> None:
    df = Stages(TRACE).df
    assert len(df) == 5 * 4 and set(df.fate) == {"possible", "removed", "gone", "below"}
    assert df[df.stage == "xtc"].coin.eq(0.25).all() and df[df.step == 2].num_possible.eq(3).all()


def test_a_figure_has_a_panel_a_stage() -> None:
    titles = [each["text"] for each in Stages(TRACE).figure().to_dict()["layout"]["annotations"]]
    assert [stage.name for stage in TRACE] == titles[: len(TRACE)]


def test_as_text_it_is_a_table() -> None:
    lines = repr(Stages(TRACE[2:], Drawn(3, " cat", (0.3, 0.6, 0.7)))).splitlines()
    assert [line.split() for line in lines] == [
        ["top_k", "xtc", "skew"], ["possible", "3", "2", "2"], ["coin", "0.250"],
        ["␣<b>", "50.0%", "removed", "-"],
        ["●", "␣cat", "30.0%", "60.0%", "70.0%"], ["␣dog", "20.0%", "40.0%", "30.0%"],
    ]  # fmt: skip


def test_the_picture_is_plain_svg_with_safe_text() -> None:
    bundle = Stages(TRACE)._repr_mimebundle_()
    assert set(bundle) == {"image/svg+xml", "text/plain"}
    root = ET.fromstring(bundle["image/svg+xml"])
    tags = {element.tag.removeprefix(SVG) for element in root.iter()}
    assert tags <= {"svg", "defs", "pattern", "line", "g", "text", "rect"}
    texts = [element.text or "" for element in root.iter(f"{SVG}text")]
    assert "␣<b>" in texts and "2 left, 1 removed, coin 0.250" in texts
    struck = [element.text for element in root.iter(f"{SVG}text") if element.get("text-decoration")]
    assert struck.count("␣<b>") == 2 and struck.count("␣fox") == 3


def test_no_stage_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Stages([])


def test_it_looks_pleasant_on_light_and_dark(page: Page) -> None:
    svg = Stages(TRACE, Drawn(3, " cat", (0.1, 0.2, 0.3, 0.6, 0.7))).svg
    halves = [f'<div style="padding:1em;background:{colour}">{svg}</div>' for colour in ("#fff", "#111")]
    page.set_content(f"<!doctype html><body style='margin:0'>{''.join(halves)}")
    widths = page.locator("svg").evaluate_all("all => all.map((svg) => svg.getBBox().width <= svg.clientWidth)")
    assert widths == [True, True]
    look(page, "stages")
