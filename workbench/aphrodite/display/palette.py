"""Colours and the signs beside them, for pictures that stand on light and dark pages alike.

Each colour has a contrast of 3 : 1 or more with white and with #111, JupyterLab's dark page, as WCAG 2.2 asks of
graphics. That leaves a narrow band of lightness, so that in grey only the first three are told apart by it; lines,
points and bars therefore differ by more than colour. The hues are Okabe and Ito's, who chose them for the colour-blind.
"""

from __future__ import annotations

BLUE, ORANGE, GREEN, PINK, RED, SKY = "#0067AB", "#CD8305", "#008D65", "#C26B9C", "#C04700", "#3F9DCF"
COLOURS = (BLUE, ORANGE, GREEN, PINK, RED, SKY)
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
MARKERS = ("circle", "square", "diamond", "triangle-up", "x", "cross")
PATTERNS = ("", "/", ".", "x", "\\", "-")

#: Of text and axes; as far from white as from #111.
GREY = "#7A7A7A"
GRID, CLEAR = "rgba(128,128,128,0.25)", "rgba(0,0,0,0)"
