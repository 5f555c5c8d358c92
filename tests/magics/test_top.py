"""`%aphrodite top`: live where something can be live, a table elsewhere."""

from __future__ import annotations

from typing import Any

import pytest

from aphrodite.display.load import Load
from tests.magics.conftest import Cells


def test_it_is_a_bar_and_the_next_one_takes_its_place(cells: Cells) -> None:
    first: Any = cells("%aphrodite top")[0]
    assert first.reading["models"][0]["model"] == "demo"
    second: Any = cells("%aphrodite top")[0]
    assert first.comm is None and second.comm is not None
    second.close()


def test_once_or_without_a_live_display_it_is_a_table(cells: Cells, monkeypatch: pytest.MonkeyPatch) -> None:
    value, shown = cells("%aphrodite top --once")
    assert isinstance(value, Load) and "output_tok_s" in shown and "demo" in shown
    monkeypatch.setenv("APHRODITE_DISPLAY", "static")
    assert isinstance(cells("%aphrodite top")[0], Load)


def test_the_shade_is_a_setting(cells: Cells, monkeypatch: pytest.MonkeyPatch) -> None:
    line = "%aphrodite generate x --max-tokens 2 --seed 1"
    assert getattr(cells(line)[0], "shade", None) == "probability"
    monkeypatch.setenv("APHRODITE_SHADE", "entropy")
    assert getattr(cells(line)[0], "shade", None) == "entropy"
    assert getattr(cells(line + " --shade none")[0], "shade", None) == "none"
    monkeypatch.setenv("APHRODITE_SHADE", "colour")
    with pytest.raises(Exception, match=r"shade='colour' \(environment, APHRODITE_SHADE\): one of"):
        cells(line)
