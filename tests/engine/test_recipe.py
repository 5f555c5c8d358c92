"""Recipes: what a result was made from, as a file, and made again from it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from aphrodite_engine.build import Build
from aphrodite_engine.errors import OriginError, ParameterError
from aphrodite_engine.llm import LLM
from aphrodite_engine.loading.weights_digest import weights_digest
from aphrodite_engine.outputs import GenerationResult
from aphrodite_engine.params import SamplingParams
from aphrodite_engine.params_json import params_from_json, params_to_json
from aphrodite_engine.prompts import Continuation
from aphrodite_engine.recipe import Recipe
from tests.engine.strategies import sampling_params
from tests.engine.tiny import VOCAB, write_tiny_llama

PROMPT = "Once upon a time"
BUILD = Build("0123", "0.1.0", "2.0", "5.0", "cpu x86_64 AVX2", "float32", None, "strict")


@pytest.fixture
def story(demo: LLM) -> GenerationResult:
    params = SamplingParams(seed=3, n=2, max_tokens=12, logit_bias={30: 1.5}, stop=["zz"], top_p=0.9)
    return demo.generate(PROMPT, params)[0]


_TEXTS = st.lists(st.text(min_size=1, max_size=5), max_size=3)
_OTHERS: dict[str, st.SearchStrategy[Any]] = {
    "max_tokens": st.sampled_from([None, 1, 256, 300]),
    "stop": st.one_of(st.none(), st.text(min_size=1, max_size=4), _TEXTS),
    "bad_words": _TEXTS,
    "banned_phrases": _TEXTS.map(lambda texts: [text for text in texts if text.strip()]),
    "stop_token_ids": st.lists(st.integers(0, VOCAB), max_size=3),
    "structured_outputs": st.sampled_from([None, {"regex": "a+"}, {"choice": ["a", "b"], "after": ["", "</a>"]},
        {"json": {"type": "object", "properties": {"a": {"enum": [1, None, "x"]}}}}]),
    "ignore_eos": st.booleans(),
}  # fmt: skip


@given(params=sampling_params(VOCAB), others=st.fixed_dictionaries({}, optional=_OTHERS), data=st.data())
@settings(max_examples=150)
def test_a_recipe_survives_json(params: SamplingParams, others: dict[str, Any], data: st.DataObject) -> None:
    params = params.with_fields(**others)
    assert params_from_json(json.loads(json.dumps(params_to_json(params)))) == params
    ids = st.lists(st.integers(0, VOCAB - 1), max_size=4).map(tuple)
    begun = st.one_of(st.none(), st.builds(Continuation, ids, st.integers(0, 9)))
    recipe = Recipe(
        "demo", BUILD, data.draw(ids), params.with_fields(seed=None), 7, (data.draw(ids),), data.draw(begun)
    )
    assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe


def test_a_recipe_makes_the_same_tokens_again(demo: LLM, story: GenerationResult, tmp_path: Path) -> None:
    story.recipe.save(tmp_path / "story.json")
    recipe = Recipe.load(tmp_path / "story.json")
    assert recipe == story.recipe and recipe.fingerprint == demo.fingerprint
    replayed = demo.replay(recipe)
    assert replayed.same and not replayed.changes and str(replayed) == "the same 24 tokens"
    assert [output.token_ids for output in replayed.result.outputs] == [output.token_ids for output in story.outputs]


def test_a_seed_that_was_chosen_and_a_branch_are_in_the_recipe(demo: LLM) -> None:
    (chosen,) = demo.generate(PROMPT, SamplingParams(max_tokens=9, mirostat_mode=2))
    assert demo.replay(chosen.recipe).same and chosen.recipe.params.seed is None
    branched = demo.generate(PROMPT, SamplingParams(seed=2, n=3, max_tokens=9))[0].branch(4, " hen", index=2)
    assert demo.replay(Recipe.from_json(branched.recipe.to_json())).same


def test_steering_is_in_the_recipe(demo: LLM) -> None:
    push = np.random.default_rng(1).standard_normal(demo.facts.hidden_size).astype("float32")
    with demo.steer(2, push, 40.0):
        (pushed,) = demo.generate(PROMPT, SamplingParams(seed=1, max_tokens=9))
    assert demo.replay(Recipe.from_json(json.loads(json.dumps(pushed.recipe.to_json())))).same
    plain = replace(pushed.recipe, steering=type(pushed.recipe.steering)())
    assert not demo.replay(plain).same


def test_it_says_where_tokens_part_with_both_texts(demo: LLM, story: GenerationResult) -> None:
    first, second = story.recipe.outputs
    forged = replace(story.recipe, outputs=(first, (*second[:5], 31, *second[6:])))
    replayed = demo.replay(forged)
    (difference,) = replayed.differences
    assert not replayed.same and (difference.index, difference.position) == (1, 5)
    assert difference.now == demo.detokenize(second) != difference.before
    assert "output 1 differs from token 5 on" in str(replayed) and "nothing that is known" in str(replayed)
    (shorter,) = demo.replay(replace(story.recipe, outputs=(first, second[:7]))).differences
    assert shorter.position == 7


def test_it_says_what_of_the_build_differs(tiny_folder: Path, tmp_path: Path) -> None:
    with LLM(tiny_folder) as llm:
        (result,) = llm.generate([5, 6, 7], SamplingParams(seed=1, max_tokens=12, ignore_eos=True))
    retrained = write_tiny_llama(tmp_path / "retrained", seed=8)
    with LLM(retrained, dtype="bfloat16", determinism="fast") as llm:
        replayed = llm.replay(result.recipe)
        assert not replayed.same
        assert [change.name for change in replayed.changes] == ["weights", "dtype", "determinism"]
        assert "dtype: bfloat16, the recipe has float32" in str(replayed)


def test_the_digest_changes_with_what_is_in_the_folder(tiny_folder: Path, tmp_path: Path) -> None:
    digests = {weights_digest(tiny_folder)}
    copy = Path(shutil.copytree(tiny_folder, tmp_path / "copy"))
    assert weights_digest(copy) in digests, "a copy is the same model"
    weights = load_file(copy / "model.safetensors")
    for name in ("model.embed_tokens.weight", "model.norm.weight", "model.layers.1.mlp.down_proj.weight"):
        changed = {key: tensor.clone() for key, tensor in weights.items()}
        changed[name].view(-1)[7] += 1e-3
        save_file(changed, copy / "model.safetensors", metadata={"format": "pt"})
        digests.add(weights_digest(copy))
    swapped = dict(weights)
    one, other = "model.layers.0.input_layernorm.weight", "model.layers.1.input_layernorm.weight"
    swapped[one], swapped[other] = weights[one] * 2, weights[other]
    save_file(swapped, copy / "model.safetensors", metadata={"format": "pt"})
    digests.add(weights_digest(copy))
    config = json.loads((copy / "config.json").read_text()) | {"rope_theta": 5000.0}
    (copy / "config.json").write_text(json.dumps(config))
    digests.add(weights_digest(copy))
    assert len(digests) == 6


def test_what_did_not_end_has_no_recipe(demo: LLM, story: GenerationResult) -> None:
    story.outputs[1].finish_reason = "abort"
    with pytest.raises(OriginError, match=r"output 1 has not come to its end \(abort\)"):
        _ = story.recipe


WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "another format": ({"format": 2}, "format", "1, which this version"),
    "a name nobody knows": ({"promt_token_ids": []}, "promt_token_ids", "did you mean 'prompt_token_ids'"),
    "no seed": ({"seed": None}, "seed", "an integer from 0"),
    "not an id": ({"prompt_token_ids": [5, -1]}, "prompt_token_ids[1]", "0 or more"),
    "text for ids": ({"prompt_token_ids": "Once"}, "prompt_token_ids", "a list of token ids"),
    "half a build": ({"build": {"torch": "2"}}, "build", "an object of weights, aphrodite"),
    "a build by hand": ({"fingerprint": "fp_000000000000"}, "fingerprint", "which is its build's"),
    "a field out of range": ({"sampling": {"top_p": 2}}, "top_p", "up to 1"),
    "an unknown field": ({"sampling": {"tempature": 1}}, "tempature", "did you mean 'temperature'"),
    "fewer outputs": ({"outputs": [[1]]}, "outputs", "n=2"),
    "an output of texts": ({"outputs": [["a"], []]}, "outputs[0][0]", "integers"),
    "half a continuation": ({"continuation": {"token_ids": []}}, "continuation", "token_ids and index"),
    "steering by hand": ({"steering": [{"layer": 1}]}, "steering", "as Recipe.save writes"),
}


@pytest.mark.parametrize(("change", "named", "told"), WRONG.values(), ids=WRONG.keys())
def test_a_bad_recipe_is_refused_by_name(
    story: GenerationResult, change: dict[str, Any], named: str, told: str
) -> None:
    with pytest.raises(ParameterError) as refusal:
        Recipe.from_json(story.recipe.to_json() | change)
    assert refusal.value.field == named and told in str(refusal.value)


def test_a_file_that_is_none_is_refused(story: GenerationResult, tmp_path: Path) -> None:
    missing = {name: value for name, value in story.recipe.to_json().items() if name != "outputs"}
    for data, named in (([1], "recipe"), (missing, "outputs"), ({}, "format")):
        with pytest.raises(ParameterError) as refusal:
            Recipe.from_json(data)
        assert refusal.value.field == named
    (tmp_path / "bad.json").write_text("{")
    for name, told in (("bad.json", "a JSON file"), ("none.json", "No such file")):
        with pytest.raises(ParameterError, match=told):
            Recipe.load(tmp_path / name)
