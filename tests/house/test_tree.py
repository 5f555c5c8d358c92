"""What is tracked: small, and free of one machine's names."""

from __future__ import annotations

import re
from pathlib import Path

from tests.house.tree import ROOT, tracked_files

#: An absolute path into somebody's folders, and the address of a package registry.
MACHINE_PATHS = re.compile(r"(?<![\w.}/-])/(?:root|home|Users|work|workspace|opt|mnt|data)/[\w.]+")
REGISTRIES = re.compile(
    r"(?:--|PIP_|_)(?:extra[-_])?index[-_]url|(?:artifactory|nexus|devpi|jfrog)[\w.-]*[/:]", re.IGNORECASE
)

NOT_OURS = {Path("LICENSE"), Path("tests/house/test_tree.py")}


def test_the_tracked_tree_is_below_60_mb() -> None:
    sizes = {file.relative_to(ROOT): file.stat().st_size for file in tracked_files()}
    largest = sorted(sizes, key=lambda file: -sizes[file])[:5]
    assert sum(sizes.values()) < 60e6, f"largest: {[(str(file), sizes[file]) for file in largest]}"


def test_no_file_names_a_machine_or_a_registry() -> None:
    found = []
    for file in tracked_files():
        if file.relative_to(ROOT) in NOT_OURS or (text := _text(file)) is None:
            continue
        for number, line in enumerate(text.split("\n"), start=1):
            for match in (MACHINE_PATHS.search(line), REGISTRIES.search(line)):
                if match:
                    found.append(f"{file.relative_to(ROOT)}:{number}: {match[0]}")
    assert found == []


def test_no_pickles_and_no_compiled_files_are_tracked() -> None:
    suffixes = {".pkl", ".pickle", ".pt", ".pth", ".bin", ".so", ".o", ".pyc", ".whl"}
    assert [str(file) for file in tracked_files() if file.suffix in suffixes] == []


def test_scripts_are_executable() -> None:
    scripts = [ROOT / ".ci" / "run", ROOT / ".ci" / "environment"]
    assert [script.name for script in scripts if not script.stat().st_mode & 0o100] == []


def _text(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None
