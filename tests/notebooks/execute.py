"""Run the notebooks and keep what they showed: `make notebooks`, or one: `python -m tests.notebooks.execute 02`."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

from aphrodite.service.settings import DEFAULT_PORT
from tests.notebooks.books import BOOKS, FOLDER, aphrodite_up

#: The same on every machine, so that running a notebook again changes nothing that was not meant.
_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def execute(book: Path, environment: dict[str, str]) -> None:
    """Run one notebook from top to bottom and write it with its outputs."""
    notebook = nbformat.read(book, as_version=4)
    client = NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(book.parent)}},
        record_timing=False, store_widget_state=False, coalesce_streams=True,
    )  # fmt: skip
    client.execute(env=environment)
    notebook.metadata = nbformat.from_dict(_METADATA)
    for cell in notebook.cells:
        _tidy(cell, environment["APHRODITE_PORT"])
    nbformat.write(notebook, book)


def _tidy(cell: Any, port: str) -> None:
    """Keep a cell's tags, and show the port that a reader's service will have."""
    tags = cell.metadata.get("tags")
    cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
    for output in cell.get("outputs", ()):
        for holder in (output, output.get("data", {})):
            for kind, text in holder.items():
                if isinstance(text, str):
                    holder[kind] = re.sub(rf"\b{port}\b", str(DEFAULT_PORT), text)


def main(wanted: list[str]) -> None:
    """All notebooks, or those whose names begin with one of the words."""
    with aphrodite_up() as environment:
        for book in BOOKS:
            if not wanted or book.stem.startswith(tuple(wanted)):
                print(book.relative_to(FOLDER), flush=True)
                execute(book, environment)


if __name__ == "__main__":
    main(sys.argv[1:])
