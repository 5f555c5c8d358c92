"""Presets are files that say what differs from neutral, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aphrodite.presets import BUILT_IN, PresetError, Presets, config_folder, differences
from aphrodite_engine.errors import ParameterError
from aphrodite_engine.params import SamplingParams


@pytest.fixture
def presets(tmp_path: Path) -> Presets:
    return Presets(tmp_path / "presets")


def test_the_built_in_ones_are_parameters(presets: Presets) -> None:
    assert presets.names() == list(BUILT_IN) and {"neutral", "greedy", "creative", "precise"} <= set(BUILT_IN)
    for name in presets.names():
        assert differences(presets.read(name)) == presets.read(name)
    assert SamplingParams.from_fields(presets.read("neutral")) == SamplingParams()


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ({"temperature": 0.5, "top_p": 1.0, "max_tokens": 256}, "temperature = 0.5\n"),
        ({"max_tokens": None}, 'max_tokens = "none"\n'),
        ({"stop": ["a\n", 'b"']}, 'stop = ["a\\n", "b\\""]\n'),
        ({"logit_bias": {5: -100.0}}, "[logit_bias]\n5 = -100.0\n"),
        ({"sampler_order": ("top_k", "temperature")}, 'sampler_order = ["top_k", "temperature"]\n'),
        ({"structured_outputs": {"json": {"type": "object"}}}, '[structured_outputs.json]\ntype = "object"\n'),
        ({"stop_token_ids": [], "seed": None}, ""),
    ],
)
def test_what_is_written_is_read_again(presets: Presets, given: dict[str, Any], written: str) -> None:
    file = presets.save("mine", given)
    assert file.read_text() == written
    assert SamplingParams.from_fields(presets.read("mine")) == SamplingParams.from_fields(given)
    assert presets.names()[-1] == "mine"
    presets.delete("mine")
    assert "mine" not in presets.names() and not list(presets.folder.iterdir())


@pytest.mark.parametrize("name", ["../up", "a/b", "", ".hidden", "neutral", "x" * 65])
def test_a_name_that_cannot_be_one_is_refused(presets: Presets, name: str) -> None:
    with pytest.raises(PresetError):
        presets.save(name, {"temperature": 0.5})
    with pytest.raises(PresetError):
        presets.delete(name)
    assert not presets.folder.exists()


def test_mistakes_are_named(presets: Presets) -> None:
    with pytest.raises(PresetError, match="did you mean creative"):
        presets.read("creatve")
    with pytest.raises(ParameterError, match="did you mean 'temperature'"):
        presets.save("mine", {"temprature": 1})
    with pytest.raises(PresetError, match="cannot be kept"):
        presets.save("mine", {"structured_outputs": {"json": {"enum": [None]}}})
    presets.save("mine", {"temperature": 0.5})
    for text, said in (
        ("temperature = ", "mine.toml"),
        ("temperature = 101.0", "temperature=101"),
        ("x = 1", "no such"),
    ):
        (presets.folder / "mine.toml").write_text(text)
        with pytest.raises(PresetError, match=said):
            presets.read("mine")


def test_the_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("APHRODITE_CONFIG_DIR", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert config_folder() == tmp_path / "aphrodite"
    monkeypatch.setenv("APHRODITE_CONFIG_DIR", str(tmp_path / "own"))
    assert Presets().folder == tmp_path / "own" / "presets"
