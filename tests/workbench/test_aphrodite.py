"""The package that users import."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import aphrodite
import aphrodite_engine.errors
import aphrodite_engine.params


@pytest.mark.parametrize("name", aphrodite.__all__)
def test_every_name_in_all_can_be_had(name: str) -> None:
    assert getattr(aphrodite, name) is not None


def test_names_are_the_engines_own() -> None:
    assert aphrodite.SamplingParams is aphrodite_engine.params.SamplingParams
    assert aphrodite.ParameterError is aphrodite_engine.errors.ParameterError


def test_every_error_of_the_engine_is_exported() -> None:
    errors = {
        name
        for name, value in vars(aphrodite_engine.errors).items()
        if isinstance(value, type) and issubclass(value, aphrodite_engine.errors.AphroditeError)
    }
    assert errors <= set(aphrodite.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'LLMM'"):
        _ = aphrodite.LLMM  # pyright: ignore[reportAttributeAccessIssue]


def test_the_version_is_the_distributions() -> None:
    assert version("aphrodite-workbench") == aphrodite.__version__


@pytest.mark.parametrize("suffix", [".dist-info", ".egg-info"])
def test_the_other_distribution_of_this_import_name_is_refused(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"aphrodite_engine-0.9.1{suffix}").mkdir()
    code = f"import sys; sys.path.append({str(tmp_path)!r}); import aphrodite"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert found.returncode == 1
    assert (
        found.stderr.strip().splitlines()[-1].startswith("ImportError: aphrodite-engine and aphrodite-workbench both")
    )
