"""Arrows run one way: apps -> workbench -> engine -> kernels. Imports inside functions count too."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.tree import AREAS, ROOT

#: What an area must not know of, beside the areas above it.
STRANGERS = {
    "kernels": {"transformers", "tokenizers", "safetensors", "huggingface_hub"},
    "engine": {
        "fastapi",
        "starlette",
        "uvicorn",
        "httpx",
        "httpx2",
        "IPython",
        "gradio",
        "mlflow",
        "boto3",
    },
    "workbench": {"gradio"},
    "apps": set[str](),
}
NOBODY_IMPORTS = {"experiments", "notebooks", "tests"}


def imported_packages(source: str) -> Iterator[tuple[int, str]]:
    """(line, top-level package) of every import statement and every import_module("...") in a file."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.split(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.lineno, node.module.split(".")[0]
        elif isinstance(node, ast.Call) and _name(node.func) in ("import_module", "__import__"):
            yield from ((node.lineno, str(a.value).split(".")[0]) for a in node.args[:1] if isinstance(a, ast.Constant))


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def forbidden_for(area: str) -> set[str]:
    names = list(AREAS)
    above = {AREAS[name] for name in names[names.index(area) + 1 :]}
    return above | STRANGERS[area] | NOBODY_IMPORTS


@pytest.mark.parametrize("area", AREAS)
def test_an_area_imports_only_itself_and_what_is_below(area: str) -> None:
    forbidden = forbidden_for(area)
    files = sorted((ROOT / area / AREAS[area]).rglob("*.py"))
    assert files, f"{area} holds no Python file"
    wrong = [
        f"{file.relative_to(ROOT)}:{line} imports {package}"
        for file in files
        for line, package in imported_packages(file.read_text(encoding="utf-8"))
        if package in forbidden
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("source", "package"),
    [
        ("import aphrodite_apps.cli", "aphrodite_apps"),
        ("def f():\n    from aphrodite_apps import cli", "aphrodite_apps"),
        ("from importlib import import_module\nimport_module('aphrodite_apps.cli')", "aphrodite_apps"),
        ("import importlib\nimportlib.import_module('tests.house')", "tests"),
    ],
)
def test_the_reader_of_imports_sees_every_way_to_import(source: str, package: str) -> None:
    assert package in {found for _, found in imported_packages(source)}
    assert package in forbidden_for("engine")


@pytest.mark.parametrize("area", [*AREAS, "experiments"])
def test_an_area_folder_is_no_package(area: str) -> None:
    # A top-level package named `kernels` shadows Hugging Face's, and transformers then fails to import.
    assert not (ROOT / area / "__init__.py").exists()


def test_python_files_of_an_area_lie_in_its_package() -> None:
    stray = [
        str(file.relative_to(ROOT))
        for area, package in AREAS.items()
        for file in (ROOT / area).rglob("*.py")
        if package not in file.relative_to(ROOT / area).parts[:1]
    ]
    assert stray == []


def test_the_wheel_holds_the_four_packages() -> None:
    import tomllib

    settings = tomllib.loads(Path(ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = settings["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert sorted(packages) == sorted(f"{area}/{package}" for area, package in AREAS.items())
