"""A README whose tables are written by the script that measures them."""

from __future__ import annotations

from pathlib import Path

BEGIN, END = "<!-- tables -->", "<!-- end of tables -->"


def rewrite(readme: Path, tables: str) -> None:
    """Put the tables between the README's two marks; what stands around them stays."""
    before, rest = readme.read_text().split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    readme.write_text(f"{before}{BEGIN}\n\n{tables.strip()}\n\n{END}{after}")
