"""Flag, `%config`, environment, pyproject.toml, default: the nearest counts, and its source is named."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from IPython.core.error import UsageError

from aphrodite.magics.settings import KNOWN, Settings
from tests.magics.conftest import Cells


def test_the_nearest_source_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = SimpleNamespace(preset="")
    (tmp_path / "deep").mkdir()
    settings = Settings(config, tmp_path / "deep")
    assert (settings.preset, settings.find("preset").source) == ("neutral", "default")
    (tmp_path / "pyproject.toml").write_text('[tool.aphrodite]\npreset = "greedy"\nport = 4000\n')
    settings = Settings(config, tmp_path / "deep")
    assert (settings.preset, settings.find("preset").source) == ("greedy", "pyproject.toml, [tool.aphrodite]")
    assert settings.port == 4000
    monkeypatch.setenv("APHRODITE_PRESET", "precise")
    assert (settings.preset, settings.find("preset").source) == ("precise", "environment, APHRODITE_PRESET")
    config.preset = "creative"
    assert (settings.preset, settings.find("preset").source) == ("creative", "%config AphroditeMagics")


def test_a_flag_beats_them_all_in_a_cell(cells: Cells) -> None:
    cells("%config AphroditeMagics.preset = 'greedy'")
    try:
        assert "%config AphroditeMagics" in cells("%aphrodite config")[1]
        answer, _ = cells("%aphrodite generate x --max-tokens 2")
        assert answer.params == {"temperature": 0.0, "max_tokens": 2}  # type: ignore[attr-defined]
        answer, _ = cells("%aphrodite generate x --max-tokens 2 --preset precise -t 0.4 -p top_p=0.8")
        assert answer.params == {"temperature": 0.4, "top_p": 0.8, "max_tokens": 2}  # type: ignore[attr-defined]
    finally:
        cells("%config AphroditeMagics.preset = ''")


def test_every_setting_is_listed_whole(cells: Cells) -> None:
    table, shown = cells("%aphrodite config")
    assert list(table.df.index) == list(KNOWN)  # type: ignore[attr-defined]
    assert all(meaning in shown for _, meaning in KNOWN.values())


@pytest.mark.parametrize(
    ("variable", "said"), [("DISPLAY", "one of rich, plain, static"), ("SHADE", "one of probability")]
)
def test_a_setting_that_cannot_be_names_its_source(
    cells: Cells, monkeypatch: pytest.MonkeyPatch, variable: str, said: str
) -> None:
    monkeypatch.setenv(f"APHRODITE_{variable}", "loud")
    with pytest.raises(UsageError, match=f"environment, APHRODITE_{variable}.*{said}"):
        cells("%%aphrodite --max-tokens 1\nx")


def test_a_broken_pyproject_is_one_line(cells: Cells, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.aphrodite\n")
    with pytest.raises(UsageError, match=r"pyproject\.toml"):
        Settings(SimpleNamespace(), tmp_path).find("preset")
