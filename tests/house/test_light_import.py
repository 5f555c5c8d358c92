"""`import aphrodite` and the command's help cost milliseconds: nothing heavy is loaded before it is needed."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = {"torch", "transformers", "gradio", "mlflow", "numpy", "pandas", "triton", "IPython", "plotly", "tqdm"}

LIST_MODULES = "import json, sys; old = set(sys.modules); {code}; print(json.dumps(sorted(set(sys.modules) - old)))"


def modules_after(code: str) -> list[str]:
    command = [sys.executable, "-c", LIST_MODULES.format(code=code)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def test_import_aphrodite_loads_nothing_heavy_and_little_at_all() -> None:
    modules = modules_after("import aphrodite")
    assert HEAVY.isdisjoint(module.split(".")[0] for module in modules)
    assert len(modules) < 60, modules


@pytest.mark.parametrize(
    "code",
    [
        "from aphrodite import SamplingParams; SamplingParams(temperature=0.5)",
        "from aphrodite import AphroditeError, ParameterError",
        "import aphrodite; dir(aphrodite)",
        "import aphrodite_apps.cli.entry as cli; cli.overview().format_help()",
        "import aphrodite_apps.cli.entry as cli; cli.command_parser('generate').format_help()",
    ],
)
def test_what_needs_no_model_loads_no_torch(code: str) -> None:
    assert HEAVY.isdisjoint(module.split(".")[0] for module in modules_after(code))
