"""Presets are files that say what differs from neutral, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aphrodite.presets import BUILT_IN, PresetError, Presets, config_folder, differences
from aphrodite_engine.errors import ParameterError
from aphrodite_engine.llm import LLM
from aphrodite_engine.params import STEP_FIELDS, SamplingParams
from aphrodite_engine.sampling.feedback import FEEDBACK


@pytest.fixture(scope="module")
def demo() -> Iterator[LLM]:
    with LLM("demo", kv_cache_memory=2**25) as found:
        yield found


@pytest.fixture
def presets(tmp_path: Path) -> Presets:
    return Presets(tmp_path / "presets")


def test_the_built_in_ones_are_parameters(presets: Presets) -> None:
    assert presets.names() == list(BUILT_IN) and {"neutral", "greedy", "creative", "precise"} <= set(BUILT_IN)
    for name in presets.names():
        assert differences(presets.read(name)) == presets.read(name)
        assert BUILT_IN[name].why and len(BUILT_IN[name].why) < 110 and not BUILT_IN[name].is_own
    assert SamplingParams.from_fields(presets.read("neutral")) == SamplingParams()
    assert len({str(preset.fields) for preset in BUILT_IN.values()}) == len(BUILT_IN)


def test_together_they_use_every_step_of_the_sampler() -> None:
    changed = {field for preset in BUILT_IN.values() for field in differences(preset.fields)}
    steps = {**STEP_FIELDS, "mirostat": ("mirostat_mode",), "adaptive_p": ("adaptive_target",)}
    steps |= {name: (name,) for name in ("repetition_penalty", "frequency_penalty", "presence_penalty", "dynatemp_max")}
    steps["banned_phrases"] = ("banned_phrases",)
    assert [step for step, fields in steps.items() if changed.isdisjoint(fields)] == []
    assert FEEDBACK.keys() <= steps.keys()


@pytest.mark.parametrize("name", BUILT_IN)
def test_each_does_something_and_runs_on_the_bundled_model(demo: LLM, presets: Presets, name: str) -> None:
    fields = presets.read(name) | {"max_tokens": 60, "seed": 1, "n": 4, "ignore_eos": True, "trace": 0}
    outputs = demo.generate("Once upon a time", SamplingParams.from_fields(fields))[0].outputs
    assert all(len(output.token_ids) == 60 for output in outputs)
    stages = {stage.name for output in outputs for position in output.traces or () for stage in position}
    stages |= {"temperature"} & {stage.removeprefix("dynamic_") for stage in stages}
    asked = {step for step, own in STEP_FIELDS.items() if not differences(BUILT_IN[name].fields).keys().isdisjoint(own)}
    assert asked <= stages and (stages - {"model"} or name == "neutral")


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


def test_a_preset_says_what_it_is_for(presets: Presets) -> None:
    file = presets.save("mine", {"top_p": 0.5}, "for the \n survey # 2")
    assert file.read_text() == "# for the survey # 2\ntop_p = 0.5\n"
    assert presets.find("mine").why == "for the survey # 2" and presets.find("mine").is_own
    presets.save("mine", {"top_p": 0.5})
    assert presets.find("mine").why == ""


def test_one_broken_file_does_not_hide_the_others(presets: Presets) -> None:
    presets.save("good", {"top_p": 0.5})
    (presets.folder / "broken.toml").write_text("top_p = 3.0")
    broken, good = presets.all()[len(BUILT_IN) :]
    assert good.fields == {"top_p": 0.5} and broken.name == "broken"
    assert broken.why.startswith("cannot be used:") and "top_p=3.0" in broken.why


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
