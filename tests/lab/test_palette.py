"""Colours stand out from light and dark pages, and none of them is all that tells two things apart."""

from __future__ import annotations

import itertools
import math
import re

import pytest

from aphrodite.display import chart
from aphrodite.display.palette import COLOURS, DASHES, GREY, MARKERS, PATTERNS
from aphrodite.lab.plots.look import INK, SCALE

#: sRGB of how people with one kind of cone missing see linear red, green and blue (Machado, Oliveira, Fernandes 2009).
EYES = {
    "all cones": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "no red": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "no green": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "no blue": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}
Colour = tuple[float, ...]


def linear(colour: str) -> Colour:
    values = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    return tuple(value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in values)


def luminance(colour: str) -> float:
    red, green, blue = linear(colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """WCAG 2.2's ratio, 1 to 21."""
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def lightness(colour: str) -> float:
    """L* of CIE Lab: what is left of a colour in grey, 0 to 100."""
    return 116 * luminance(colour) ** (1 / 3) - 16


def lab(colour: Colour) -> Colour:
    red, green, blue = (min(max(value, 0.0), 1.0) for value in colour)
    x = (0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.95047
    y = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    z = (0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.08883
    fx, fy, fz = (value ** (1 / 3) if value > 0.008856 else 7.787 * value + 16 / 116 for value in (x, y, z))
    return 116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)


def seen(colour: str, eyes: str) -> Colour:
    parts = linear(colour)
    return lab(tuple(sum(map(math.prod, zip(row, parts, strict=True))) for row in EYES[eyes]))


@pytest.mark.parametrize("page", ["#FFFFFF", "#111111"])
def test_colours_and_text_stand_out_from_light_and_dark_pages(page: str) -> None:
    assert {colour: round(contrast(colour, page), 2) for colour in COLOURS if contrast(colour, page) < 3} == {}
    assert contrast(GREY, page) >= 4.25  # more on one page would be less on the other: 4.35 is the most on both


@pytest.mark.parametrize("eyes", EYES)
def test_colours_are_told_apart_by_all_eyes(eyes: str) -> None:
    """A distance of 2.3 in CIE Lab is just noticeable; five times that is plain."""
    distances = {
        (one, other): math.dist(seen(one, eyes), seen(other, eyes)) for one, other in itertools.combinations(COLOURS, 2)
    }
    assert min(distances.values()) > 5 * 2.3, distances


def test_three_are_told_apart_in_grey_and_all_by_something_else() -> None:
    for one, other in itertools.combinations(COLOURS[:3], 2):
        assert abs(lightness(one) - lightness(other)) >= 9
    for signs in (DASHES, MARKERS, PATTERNS):
        assert len(set(signs)) == len(signs) == len(COLOURS)


def test_cells_grow_darker_with_their_share_and_their_text_stays_readable() -> None:
    (_, low), (_, high) = SCALE
    assert lightness(low) - lightness(high) > 30
    assert contrast(INK, low) > contrast(INK, high) >= 4.5


def test_charts_and_figures_share_one_palette() -> None:
    assert chart.colours(6) == COLOURS
    assert all(re.fullmatch("#[0-9A-F]{6}", colour) for colour in (*COLOURS, GREY, INK))
