"""Every notebook runs as it stands, gives what it shows, and is pleasant to open."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.house.tree import ROOT
from tests.notebooks.books import BOOKS, CONTRACTS, FOLDER

#: So that a cell is read without scrolling, in either direction, in a window of 1,000 pixels.
MOST_LINES, MOST_LETTERS = 15, 105
MOST_BYTES = 400_000
#: Keys of ours, of other services, and what a bearer header holds.
KEY = re.compile(r"\baph_[0-9a-f]{16,}|\bsk-[A-Za-z0-9_-]{16,}|Bearer +[A-Za-z0-9_-]{16,}")
PATH = re.compile(r"(?<![\w:/.])/(home|root|tmp|work|usr|Users|var|opt|mnt)/|[A-Z]:\\\\")
#: Figures that another run has differently.
VOLATILE = re.compile(r"\b\d[\d,.]* ?(ms|s|tok/s|tokens/s|MiB|GiB)\b|\b(req|chatcmpl|resp|call)[-_][A-Za-z0-9]{8,}")


def nbval(book: Path, environment: dict[str, str], flag: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable, "-m", "pytest", flag, "--nbval-current-env", "--nbval-cell-timeout", "60", "-q", "-x",
        "--rootdir", str(ROOT), "-c", str(ROOT / "pyproject.toml"), "-p", "no:cacheprovider", "--color=no", str(book),
    ]  # fmt: skip
    return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)


def name(book: Path) -> str:
    return book.relative_to(FOLDER).with_suffix("").as_posix()


@pytest.mark.slow
@pytest.mark.parametrize("book", BOOKS, ids=name)
def test_a_notebook_runs_and_gives_what_it_shows(book: Path, environment: dict[str, str]) -> None:
    done = nbval(book, environment, "--nbval" if book.stem in CONTRACTS else "--nbval-lax")
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


@pytest.mark.slow
def test_a_stored_token_that_does_not_come_again_is_found(tmp_path: Path, environment: dict[str, str]) -> None:
    book = tmp_path / "story.ipynb"
    story = "import aphrodite\nprint(aphrodite.connect().generate('Once upon a time', seed=7, max_tokens=8)[0].text)"
    stored = nbformat.v4.new_output("stream", text=", in a house of glass")
    cell = nbformat.v4.new_code_cell(story, outputs=[stored], execution_count=1)
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), book)
    done = nbval(book, environment, "--nbval")
    assert done.returncode == 1 and "in a house of glass" in done.stdout


@pytest.fixture(params=BOOKS, ids=name)
def notebook(request: pytest.FixtureRequest) -> Any:
    return nbformat.read(request.param, as_version=4)


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def shown(cell: Any) -> str:
    """Everything of a cell's outputs that a reader sees as text."""
    texts: list[str] = []
    for output in cell.outputs:
        texts += [output.get("text", ""), "\n".join(output.get("traceback", ()))]
        texts += [text for kind, text in output.get("data", {}).items() if kind.startswith("text/")]
    return "\n".join(texts)


def test_the_tutorials_and_the_benchmarks_are_there() -> None:
    assert {name(book) for book in BOOKS} >= {
        "01_first_five_minutes", "02_tokens_seen", "03_structured_output_and_tools", "04_share_with_your_team",
        "05_samplers_seen",
        "benchmarks/throughput", "benchmarks/samplers",
    }  # fmt: skip


def test_a_sentence_of_purpose_comes_before_each_cell_of_code(notebook: Any) -> None:
    before = ""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert before == "markdown", cell.source
        before = cell.cell_type


def test_cells_are_short_and_narrow(notebook: Any) -> None:
    lines = [cell.source.splitlines() for cell in code_cells(notebook)]
    assert [source for source in lines if len(source) > MOST_LINES] == []
    assert [line for source in lines for line in source if len(line) > MOST_LETTERS] == []


def test_it_was_executed_from_top_to_bottom(notebook: Any) -> None:
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    failed = [cell for cell in cells if any(output.output_type == "error" for output in cell.outputs)]
    assert all("raises-exception" in cell.metadata.get("tags", ()) for cell in failed)


def test_it_names_no_key_and_no_folder_of_a_machine(notebook: Any) -> None:
    text = nbformat.writes(notebook)
    assert KEY.search(text) is None and PATH.search(text) is None


def test_figures_of_one_run_are_only_where_nothing_is_compared(notebook: Any) -> None:
    compared = [c for c in code_cells(notebook) if "nbval-ignore-output" not in c.metadata.get("tags", ())]
    assert [found[0] for cell in compared if (found := VOLATILE.search(shown(cell)))] == []


def test_its_metadata_says_nothing_of_whoever_ran_it(notebook: Any) -> None:
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert notebook.metadata.language_info == {"name": "python"} and notebook.metadata.kernelspec.name == "python3"
    assert {key for cell in notebook.cells for key in cell.metadata} <= {"tags"}


@pytest.mark.parametrize("book", BOOKS, ids=name)
def test_it_is_small(book: Path) -> None:
    assert book.stat().st_size <= MOST_BYTES


def test_a_picture_lies_beside_every_plot(notebook: Any) -> None:
    bundles = [output.data for cell in code_cells(notebook) for output in cell.outputs if "data" in output]
    plots = [bundle for bundle in bundles if "application/vnd.plotly.v1+json" in bundle]
    assert all("image/svg+xml" in bundle for bundle in plots)


def test_links_lead_somewhere(notebook: Any, request: pytest.FixtureRequest) -> None:
    folder = request.node.callspec.params["notebook"].parent
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    assert [link for link in links if not (folder / link).exists()] == []
