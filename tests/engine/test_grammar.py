"""Structured outputs: texts follow their grammar whatever else is asked for, and nobody else notices."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

from aphrodite_engine.constraints import grammar
from aphrodite_engine.errors import ParameterError
from aphrodite_engine.llm import LLM
from aphrodite_engine.outputs import CompletionOutput
from aphrodite_engine.params import SamplingParams
from tests.engine.inside import all_blocks_free, engine_of, wait_until
from tests.engine.strategies import sampling_params
from tests.engine.tiny import EOS, VOCAB, write_tiny_llama

CHECKED = settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 12}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name", "age"],
    "additionalProperties": False,
}  # fmt: skip
TREE = {"$defs": {"t": {"type": "object", "properties": {"l": {"$ref": "#/$defs/t"}}}}, "$ref": "#/$defs/t"}
SCHEMAS: list[Any] = [
    PERSON,
    TREE,
    {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 4},
    {"enum": ["red", "green", 3, None, {"a": [1]}]},
    {"anyOf": [{"type": "boolean"}, {"type": "number", "minimum": -2, "maximum": 7.5}, {"type": "null"}]},
    {"type": "string", "pattern": "^[a-c]{2,5}$"},
    {"type": "object", "additionalProperties": {"type": "integer"}, "minProperties": 1, "maxProperties": 3},
    {"type": "integer", "multipleOf": 7},
]
#: A grammar, and whether a whole text follows it.
FOLLOWED: list[dict[str, Any]] = [
    *({"json": schema} for schema in SCHEMAS),
    {"json_object": True},
    {"regex": r"[0-9]{3}-[a-f]+"},
    {"choice": ["yes", "no", 'may"be\n', "né", ""]},
    {"grammar": 'start: "a" b*\nb: "b" | "(" start ")"'},
    {"grammar": 'root ::= "x" ("y" | "z")+'},
]


def follows(asked: dict[str, Any], text: str) -> bool:
    kind, value = next(iter(asked.items()))
    if kind in ("json", "json_object"):
        jsonschema.validate(json.loads(text), value if kind == "json" else {"type": "object"})
        return True
    if kind == "regex":
        return re.fullmatch(value, text) is not None
    if kind == "choice":
        return text in value
    return re.fullmatch(r"a[ab()]*" if "start" in value else "x[yz]+", text) is not None


def asks(**fixed: Any) -> st.SearchStrategy[SamplingParams]:
    """Requests with grammars among those without."""
    structured = st.sampled_from([None, *FOLLOWED])
    fields = st.fixed_dictionaries(
        {
            "structured_outputs": structured,
            "n": st.sampled_from([1, 1, 3]),
            "max_tokens": st.integers(4, 30),
            "min_tokens": st.sampled_from([0, 0, 4]),
            "ignore_eos": st.booleans(),
            "stop": st.sampled_from([None, None, "a", ["1", "}"]]),
        }
    )
    return fields.flatmap(lambda given: sampling_params(VOCAB, **(given | {"allowed_token_ids": None} | fixed)))


@pytest.fixture(scope="module")
def small(tiny_folder: Path) -> Iterator[LLM]:
    """Three sequences of 80 tokens fit its cache, and prompts go in chunks: many are preempted."""
    with LLM(tiny_folder, kv_cache_memory=2**18, max_model_len=128, max_num_batched_tokens=16) as llm:
        yield llm


@pytest.mark.parametrize("asked", FOLLOWED, ids=str)
@pytest.mark.parametrize("temperature", [0, 1, 1.5])
def test_a_text_that_ended_follows_its_grammar(tiny: LLM, demo: LLM, asked: dict[str, Any], temperature: float) -> None:
    params = SamplingParams(structured_outputs=asked, temperature=temperature, max_tokens=60, seed=1, n=4)
    ended = [
        output.text
        for llm in (tiny, demo)
        for output in llm.generate("Fill in: ", params)[0].outputs
        if output.finish_reason == "stop"
    ]
    assert all(follows(asked, text) for text in ended)
    assert ended or temperature != 1 or "json" in next(iter(asked))  # keys and strings without a bound may go on


@CHECKED
@given(asked=st.sampled_from(FOLLOWED), params=sampling_params(4096, allowed_token_ids=None, max_tokens=80))
def test_whatever_the_sampler_does_a_text_that_ended_follows_its_grammar(
    demo: LLM, asked: dict[str, Any], params: SamplingParams
) -> None:
    output = demo.generate("Ann is 33 years old.", params.with_fields(structured_outputs=asked))[0].outputs[0]
    assert output.finish_reason in ("stop", "length")
    if output.finish_reason == "stop":
        assert follows(asked, output.text)


@pytest.mark.slow
@CHECKED
@given(many=st.lists(asks(), min_size=2, max_size=6), common=st.integers(0, 40))
def test_alone_together_in_chunks_cached_or_preempted_the_same_bits(
    tiny: LLM, small: LLM, many: list[SamplingParams], common: int
) -> None:
    prompts = [[*range(1, common + 1), 200 + place] for place in range(len(many))]
    alone = [tiny.generate(prompt, params)[0].outputs for prompt, params in zip(prompts, many, strict=True)]
    for llm in (tiny, small):
        together = [result.outputs for result in llm.generate(prompts, many)]
        assert together == alone


def test_preempted_sequences_go_on_where_their_grammar_was(small: LLM, tiny: LLM) -> None:
    asked = {"json": {"type": "array", "items": {"type": "integer"}, "minItems": 60}}
    params = SamplingParams(structured_outputs=asked, seed=5, n=8, max_tokens=100)
    before = engine_of(small).stats().preemptions
    found = small.generate([1, 2, 3], params)[0].outputs
    assert engine_of(small).stats().preemptions > before
    assert found == tiny.generate([1, 2, 3], params)[0].outputs
    assert all(re.match(r"\[[-0-9, \n]*$", output.text) for output in found)


def test_a_stop_string_ends_a_text_before_its_grammar_does(tiny: LLM) -> None:
    params = SamplingParams(
        structured_outputs={"regex": "[ab]{30}c"}, stop="b", seed=2, include_stop_str_in_output=True
    )
    output = tiny.generate([1], params)[0].outputs[0]
    assert output.stop_reason == "b" and re.fullmatch("a*b", output.text)


@pytest.mark.parametrize(
    "kind",
    [
        {"regex": "[0-9]{3}"},
        {"json": {"type": "integer"}},
        {"choice": ["yes"]},
        {"grammar": 'root ::= "x" ("y" | "z")+'},
    ],
    ids=str,
)
@pytest.mark.parametrize("closing", ["qk", "</s>"])
@pytest.mark.parametrize("opening", ["", "<"])
def test_a_thought_may_come_first(tiny: LLM, kind: dict[str, Any], opening: str, closing: str) -> None:
    bias = {tiny.tokenize(char, add_special_tokens=False)[0]: 30.0 for char in "qk<"}
    params = SamplingParams(
        structured_outputs=kind | {"after": [opening, closing]}, seed=1, n=4, max_tokens=150, logit_bias=bias,
        skip_special_tokens=False,
    )  # fmt: skip
    for output in tiny.generate([1], params)[0].outputs:
        thought, _, answer = output.text.rpartition(closing)
        if output.finish_reason == "stop" and answer:
            assert follows(kind, answer.lstrip()) and thought.startswith(opening)


def test_a_complete_text_ends_at_once_and_needs_no_eos(tiny: LLM) -> None:
    params = SamplingParams(structured_outputs={"choice": ["abc"]}, max_tokens=3)
    output = tiny.generate([1], params)[0].outputs[0]
    assert (output.text, output.finish_reason, output.stop_reason) == ("abc", "stop", None)
    assert len(output.token_ids) == 3


@pytest.mark.parametrize("asked", [{"choice": ["a", "abcdef"]}, {"regex": "[ab]{1,9}"}])
def test_min_tokens_keeps_a_text_going_while_it_can(tiny: LLM, asked: dict[str, Any]) -> None:
    params = SamplingParams(structured_outputs=asked, min_tokens=5, seed=1, n=8)
    outputs = tiny.generate([1], params)[0].outputs
    assert all(o.finish_reason == "stop" and (len(o.text) >= 5 or o.text == "a") for o in outputs)
    assert all(EOS not in output.token_ids[:5] for output in outputs)


def test_min_tokens_ignored_eos_and_allowed_ids_never_stand_in_the_way_of_a_complete_text(tiny: LLM) -> None:
    ids = tiny.tokenize("ab", add_special_tokens=False)
    params = SamplingParams(
        structured_outputs={"grammar": f'start: "ab" <[{EOS}]>?'}, min_tokens=9, ignore_eos=True, allowed_token_ids=ids
    )
    output = tiny.generate([1], params)[0].outputs[0]
    assert (output.text, output.finish_reason) == ("ab", "stop")


def test_ignore_eos_keeps_a_text_going_while_it_can(tiny: LLM) -> None:
    params = SamplingParams(structured_outputs={"regex": "[ab]+"}, ignore_eos=True, max_tokens=40, seed=3)
    output = tiny.generate([1], params)[0].outputs[0]
    assert output.finish_reason == "length" and re.fullmatch("[ab]{40}", output.text)


def test_allowed_ids_and_bias_choose_among_what_the_grammar_allows(tiny: LLM) -> None:
    a, b, c = tiny.tokenize("abc", add_special_tokens=False)
    asked = {"regex": "[abc]{12}"}
    allowed = SamplingParams(structured_outputs=asked, allowed_token_ids=[b, c, 7], temperature=1.9, seed=1)
    assert re.fullmatch("[bc]{12}", tiny.generate([1], allowed)[0].text)
    biased = SamplingParams(structured_outputs=asked, logit_bias={a: 100.0, 7: 100.0}, seed=1)
    assert tiny.generate([1], biased)[0].text == "a" * 12


def test_allowed_ids_that_leave_nothing_are_named(tiny: LLM) -> None:
    params = SamplingParams(structured_outputs={"regex": "a+b"}, allowed_token_ids=[7])
    with pytest.raises(ParameterError, match="allowed_token_ids leaves none") as caught:
        tiny.generate([1], params)
    assert caught.value.field == "structured_outputs"


def test_a_model_without_eos_ends_when_its_text_is_complete(tmp_path: Path) -> None:
    folder = write_tiny_llama(tmp_path, eos_token_id=None)
    (folder / "tokenizer_config.json").write_text("{}")
    with LLM(folder, kv_cache_memory=2**20) as llm:
        result = llm.generate([1], SamplingParams(structured_outputs={"regex": "[ab]{4}"}, seed=1))[0]
        assert re.fullmatch("[ab]{4}", result.text) and result.outputs[0].finish_reason == "stop"
        endless = llm.generate([1], SamplingParams(structured_outputs={"regex": "[ab]*"}, seed=1, max_tokens=9))[0]
        assert re.fullmatch("[ab]{9}", endless.text) and endless.outputs[0].finish_reason == "length"


def test_ids_without_text_and_other_end_ids_are_never_drawn(tiny: LLM) -> None:
    params = SamplingParams(structured_outputs={"regex": r"(?s:.)*"}, temperature=100, n=8, max_tokens=100, seed=1)
    drawn = {i for output in tiny.generate([1], params)[0].outputs for i in output.token_ids}
    assert all(i < 256 or i == EOS for i in drawn)


def test_a_grammar_that_grows_beyond_its_limits_ends_its_own_request_only(tiny: LLM) -> None:
    free = SamplingParams(seed=4, max_tokens=60, ignore_eos=True)
    expected = tiny.generate([5], free)[0].outputs
    texts: dict[str, CompletionOutput] = {}
    too_much = SamplingParams(structured_outputs={"grammar": 'start: (("a"{1,1000}){1,1000}){1,1000}'}, ignore_eos=True)
    bad, good = tiny.admit([5], too_much), tiny.admit([5], free)
    errors: list[BaseException] = []
    texts["good"] = CompletionOutput(0, 4)
    tiny.submit(bad, lambda event: errors.append(event.error) if event.error else None)
    tiny.submit(good, lambda event: _collect(texts["good"], event))
    wait_until(lambda: texts["good"].finish_reason is not None, 60)
    assert [texts["good"]] == expected
    assert isinstance(errors[0], ParameterError) and errors[0].field == "structured_outputs"
    wait_until(lambda: all_blocks_free(tiny))


def _collect(output: CompletionOutput, event: Any) -> None:
    output.text += event.text
    output.token_ids.extend(event.token_ids)
    output.finish_reason = event.finish_reason


# ---- what is refused


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({}, "structured_outputs"),
        ({"json": {}, "regex": "a"}, "structured_outputs"),
        ({"yaml": "a"}, "structured_outputs"),
        ("json", "structured_outputs"),
        ({"regex": 3}, "structured_outputs.regex"),
        ({"regex": ""}, "structured_outputs.regex"),
        ({"regex": "a" * 70_000}, "structured_outputs.regex"),
        ({"choice": []}, "structured_outputs.choice"),
        ({"choice": ["a", 1]}, "structured_outputs.choice"),
        ({"choice": "ab"}, "structured_outputs.choice"),
        ({"json_object": False}, "structured_outputs.json_object"),
        ({"after": ["", "b"]}, "structured_outputs"),
        ({"regex": "a", "after": "</think>"}, "structured_outputs.after"),
        ({"regex": "a", "after": ["<think>", ""]}, "structured_outputs.after"),
        ({"json": [1]}, "structured_outputs.json"),
        ({"json": True}, "structured_outputs.json"),
        ({"json": {"enum": [float("nan")]}}, "structured_outputs.json"),
        ({"json": {"enum": [f"value {i}" for i in range(10_000)]}}, "structured_outputs.json"),
    ],
)
def test_what_is_no_structured_output_is_refused_on_construction(asked: Any, named: str) -> None:
    with pytest.raises(ParameterError) as caught:
        SamplingParams(structured_outputs=asked)
    assert caught.value.field == named


def _bomb(depth: int) -> dict[str, Any]:
    definitions: dict[str, Any] = {"d0": {"type": "object", "properties": {"a": {"type": "string"}}}}
    for i in range(1, depth):
        parts = [{"anyOf": [{"$ref": f"#/$defs/d{i - 1}"}, {"type": "object", "properties": {f"x{i}{j}": {}}}]}
                 for j in range(8)]  # fmt: skip
        definitions[f"d{i}"] = {"allOf": parts}
    return {"$defs": definitions, "$ref": f"#/$defs/d{depth - 1}"}


@pytest.mark.parametrize(
    "asked",
    [
        {"regex": "("},
        {"regex": "(?=a)b"},
        {"regex": "(x{1000}){1000}"},
        {"regex": "x{10000000}"},
        {"regex": "(" * 5000 + "a" + ")" * 5000},
        {"json": {"$ref": "#"}},
        {"json": {"$ref": "http://127.0.0.1:9/x.json"}},
        {"json": {"$ref": "file:///etc/passwd"}},
        {"json": {"type": "integr"}},
        {"json": {"not": {}}},
        {"json": {"x-guidance": {"lenient": True}, "not": {}}},
        {"json": {"type": "integer", "minimum": 5, "maximum": 2}},
        {"json": {"type": "integer", "multipleOf": 99_999_989}},
        {"json": _bomb(5)},
        {"json": "{"},
        {"json": "[1]"},
        {"json": {"anyOf": [{"const": {"a": i}} for i in range(3000)]}},
        {"grammar": "nonsense"},
        {"grammar": 'start: x\n%import /etc/passwd.X -> x'},
        {"grammar": 'start: x\nx: %json {"$ref": "file:///etc/passwd"}'},
        {"grammar": "start: " + "(" * 5000 + '"a"' + ")" * 5000},
        {"grammar": "start: a0\n" + "\n".join(f"a{i}: a{i + 1} a{i + 1}" for i in range(30)) + '\na30: "x"'},
        {"grammar": "start: A0\n" + "\n".join(f"A{i}: A{i + 1} A{i + 1}" for i in range(25)) + '\nA25: "x"'},
    ],
    ids=lambda asked: str(asked)[:60],
)  # fmt: skip
def test_bad_and_excessive_grammars_are_refused_by_name_within_two_seconds(tiny: LLM, asked: dict[str, Any]) -> None:
    tiny.generate([1], SamplingParams(structured_outputs={"choice": ["warm"]}))  # the process for trials is there
    started = time.monotonic()
    with pytest.raises(ParameterError) as caught:
        tiny.generate([1], SamplingParams(structured_outputs=asked))
    assert time.monotonic() - started < 2.5  # two, and a busy machine
    assert caught.value.field == f"structured_outputs.{next(iter(asked))}"
    assert "root:" not in str(caught.value) and "\n" not in str(caught.value)


def test_a_grammar_that_ended_its_trial_does_not_disturb_the_next(tiny: LLM) -> None:
    with pytest.raises(ParameterError, match="more than"):
        tiny.generate([1], SamplingParams(structured_outputs={"json": {"type": "integer", "multipleOf": 99_999_971}}))
    assert tiny.generate([1], SamplingParams(structured_outputs={"choice": ["good"]}))[0].text == "good"


def test_the_process_for_trials_ends_with_the_engine(tiny_folder: Path) -> None:
    with LLM(tiny_folder, kv_cache_memory=2**20) as llm:
        llm.generate([1], SamplingParams(structured_outputs={"choice": ["a"]}))
        trial = llm._admission.grammars._trial
        assert trial is not None and trial._process is not None
        process = trial._process
        assert process.poll() is None
    assert process.poll() is not None


# ---- tokenizers


def test_without_a_tokenizer_structured_outputs_are_refused(tmp_path: Path) -> None:
    with LLM(write_tiny_llama(tmp_path, tokenizer=False), kv_cache_memory=2**20) as llm:
        with pytest.raises(ParameterError, match="has no tokenizer") as caught:
            llm.generate([1], SamplingParams(structured_outputs={"regex": "a"}))
    assert caught.value.field == "structured_outputs"


def test_a_tokenizer_with_byte_fallback_is_followed(tmp_path: Path) -> None:
    folder = write_tiny_llama(tmp_path, vocab_size=340, eos_token_id=2)
    _with_byte_fallback().save(str(folder / "tokenizer.json"))
    with LLM(folder, kv_cache_memory=2**20) as llm:
        for asked in ({"json": PERSON}, {"regex": "[é☃]{3} [a-z]{2}"}, {"choice": ["two words", "ünï"]}):
            params = SamplingParams(structured_outputs=asked, seed=1, n=4, max_tokens=80)
            for output in llm.generate([5], params)[0].outputs:
                assert output.finish_reason == "length" or follows(asked, output.text)


def test_a_tokenizer_whose_tokens_are_no_bytes_is_refused_by_name(tmp_path: Path) -> None:
    folder = write_tiny_llama(tmp_path)
    words = Tokenizer(models.WordLevel(vocab={"a": 0, "b": 1, "[UNK]": 2}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.save(str(folder / "tokenizer.json"))
    with LLM(folder, kv_cache_memory=2**20) as llm:
        with pytest.raises(ParameterError, match="neither byte-level"):
            llm.generate([1], SamplingParams(structured_outputs={"regex": "a"}))


def _with_byte_fallback() -> Tokenizer:
    """As Llama 2's: words with a mark for the blank, and a token for each byte."""
    vocab = {"<unk>": 0, "<s>": 1, "</s>": 2}
    vocab |= {f"<0x{byte:02X}>": 3 + byte for byte in range(256)}
    for text in [*"▁abcdefghijklmnopqrstuvwxyz{}:,0123456789", '"', "▁w", 'me"']:
        vocab[text] = len(vocab)
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[], byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])  # type: ignore[assignment]
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )  # type: ignore[assignment]
    tokenizer.add_special_tokens([AddedToken(text, special=True) for text in ("<unk>", "<s>", "</s>")])
    return tokenizer


# ---- what it costs


def test_equal_grammars_are_compiled_once_and_few_are_kept(tiny: LLM, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grammar, "MAX_CACHED", 8)
    grammars = tiny._admission.grammars
    first = grammars.compiled({"choice": ["number 0"]})
    assert grammars.compiled({"choice": ["number 0"]}) is first
    for i in range(40):
        grammars.compiled({"choice": [f"number {i}"]})
    count, size = grammars.kept
    assert count == 8 and size < 8 * 2**20


def test_the_kept_bytes_are_bounded_too(tiny: LLM, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grammar, "MAX_CACHED_BYTES", 2**21)
    for i in range(12):
        tiny._admission.grammars.compiled({"choice": ["x" * 2000 + str(i)]})
    assert tiny._admission.grammars.kept[1] <= 2**21


@pytest.mark.slow
def test_who_asks_for_no_grammar_does_not_load_the_library(tiny_folder: Path) -> None:
    code = (
        "import sys; from aphrodite_engine.llm import LLM\n"
        f"with LLM({str(tiny_folder)!r}, kv_cache_memory=2**20) as llm: llm.generate([1])\n"
        "assert 'llguidance' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
