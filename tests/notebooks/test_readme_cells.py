"""The cells that the READMEs show run in a kernel, and give what stands below them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.house.tree import ROOT
from tests.notebooks.books import FOLDER

#: A cell, and what it gives where that is written below it.
CELL = re.compile(r"^```ipython\n(.*?)^```\n(?:\s*^```output\n(.*?)^```$)?", re.MULTILINE | re.DOTALL)
READMES = [file for file in (ROOT / "README.md", FOLDER / "README.md") if CELL.search(file.read_text("utf-8"))]


def test_the_notebooks_readme_has_cells() -> None:
    assert FOLDER / "README.md" in READMES


@pytest.mark.slow
@pytest.mark.parametrize("readme", READMES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_the_cells_run_and_give_what_they_say(readme: Path, environment: dict[str, str], tmp_path: Path) -> None:
    cells = CELL.findall(readme.read_text("utf-8"))
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source, _ in cells])
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=60, kernel_name="python3", resources=resources).execute(env=environment)
    for cell, (source, promised) in zip(notebook.cells, cells, strict=True):
        assert not promised or shown(cell) == promised, source


def shown(cell: Any) -> str:
    """As a terminal would show it."""
    parts = [output.get("text") or output["data"]["text/plain"] for output in cell.outputs]
    return "".join(part if part.endswith("\n") else part + "\n" for part in parts)
