"""Flags: one for every field, and mistakes answered in one line."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from aphrodite.sampling_flags import add_sampling_flags, sampling_fields
from aphrodite_apps.cli.engine_flags import ENGINE_FLAGS, add_engine_flags, engine_options, memory_size
from aphrodite_apps.cli.entry import COMMANDS, command_parser
from aphrodite_engine.config import EngineConfig
from aphrodite_engine.params import SamplingParams
from tests.apps.cli import CommandLine

#: For each kind of field, a value other than any default, as typed and as the field gets it.
TYPED: dict[str, tuple[list[str], Any]] = {
    "logit_bias": (["--logit-bias", '{"5": -100, "7": 1.5}'], {5: -100, 7: 1.5}),
    "allowed_token_ids": (["--allowed-token-ids", "1,2", "--allowed-token-ids", "3"], [1, 2, 3]),
    "stop_token_ids": (["--stop-token-ids", "4,5"], [4, 5]),
    "stop": (["--stop", "a, b", "--stop", "c"], ["a, b", "c"]),
    "sampler_order": (["--sampler-order", "top_k,temperature"], ["top_k", "temperature"]),
    "mirostat_mode": (["--mirostat-mode", "2"], 2),
    "dry_sequence_breakers": (["--dry-sequence-breakers", "\n", "--dry-sequence-breakers", "a, b"], ["\n", "a, b"]),
    "bad_words": (["--bad-words", "a, b"], ["a, b"]),
    "banned_phrases": (["--banned-phrases", "a, b", "--banned-phrases", "c"], ["a, b", "c"]),
    "repetition_detection": (
        ["--repetition-detection", '{"max_pattern_size": 9, "min_count": 3}'],
        {"max_pattern_size": 9, "min_count": 3},
    ),
    "adaptive_target": (["--adaptive-target", "none"], None),
    "logprobs_mode": (["--logprobs-mode", "processed"], "processed"),
    "max_tokens": (["--max-tokens", "none"], None),
    "skip_special_tokens": (["--no-skip-special-tokens"], False),
    "top_p": (["--top-p", "0.9"], 0.9),
    "min_p": (["--min-p", "0.05"], 0.05),
    "top_k": (["--top-k", "-1"], -1),
    "n": (["-n", "3"], 3),
    "temperature": (["-t", "0"], 0.0),
    "seed": (["-s", "7"], 7),
}


def parse_sampling(*argv: str) -> dict[str, Any]:
    parser = argparse.ArgumentParser()
    add_sampling_flags(parser)
    return sampling_fields(parser.parse_args(argv))


def options_of(command: str) -> dict[str, argparse.Action]:
    return command_parser(command)._option_string_actions


@pytest.mark.parametrize("command", ["generate", "chat"])
def test_every_field_of_sampling_params_is_a_flag(command: str) -> None:
    flags = options_of(command)
    missing = [name for name in SamplingParams.field_names() if "--" + name.replace("_", "-") not in flags]
    assert missing == []


@pytest.mark.parametrize("name", TYPED)
def test_a_flag_gives_its_field_the_typed_value(name: str) -> None:
    typed, value = TYPED[name]
    assert parse_sampling(*typed) == {name: value}
    assert SamplingParams.from_fields({name: value}) == SamplingParams.from_fields(parse_sampling(*typed))


def test_a_flag_that_is_not_given_leaves_the_default() -> None:
    assert parse_sampling() == {}


@pytest.mark.parametrize("command", [command.name for command in COMMANDS])
def test_every_flag_says_what_it_means_and_its_default(command: str) -> None:
    silent = [
        action.dest
        for action in options_of(command).values()
        if not action.help or not ("(default: " in action.help or action.nargs == 0)
    ]
    assert silent == []


def test_every_setting_of_the_engine_is_a_flag() -> None:
    # `seed` is the request's: with one model and one command the engine's own would be a second name for it.
    assert {flag.name for flag in ENGINE_FLAGS} == {field.name for field in fields(EngineConfig)} - {"seed"}


def test_engine_flags_reach_the_engine() -> None:
    parser = argparse.ArgumentParser()
    add_engine_flags(parser)
    assert engine_options(parser.parse_args([])) == {}
    typed = ["--dtype", "bfloat16", "--kv-cache-memory", "64MiB", "--no-enable-prefix-caching", "--max-num-seqs", "4"]
    options = engine_options(parser.parse_args(typed))
    assert options == {
        "dtype": "bfloat16",
        "kv_cache_memory": 64 * 2**20,
        "enable_prefix_caching": False,
        "max_num_seqs": 4,
    }
    EngineConfig(**options)


@pytest.mark.parametrize(
    ("text", "size"),
    [("1000", 1000), ("64MiB", 64 * 2**20), ("2GB", 2 * 10**9), ("1.5GiB", 3 * 2**29), ("5k", 5000), ("7 b", 7)],
)
def test_memory_sizes_are_read_as_people_write_them(text: str, size: int) -> None:
    assert memory_size(text) == size


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["genrate"], "error: no such command 'genrate'; did you mean generate?"),
        (["generate", "x", "--top-pp", "0.9"], "error: no such flag --top-pp; did you mean --top-p?"),
        (["generate", "x", "--topp=0.9"], "error: no such flag --topp; did you mean --top-p?"),
        (["generate", "x", "y"], "error: unexpected argument 'y'"),
        (["generate"], "error: give either a prompt or --input"),
        (["generate", "x", "--input", "file"], "error: give either a prompt or --input"),
        (["generate", "--input", "no-such-file"], "error: cannot read no-such-file: No such file"),
        (
            ["generate", "x", "--output", "no-such-folder/file"],
            "error: cannot write no-such-folder/file: no such",
        ),
        (["generate", "x", "--top-p", "1.5"], "error: top_p=1.5 is not allowed: a finite number above 0 up to 1"),
        (["generate", "x", "--temperature", "nan"], "error: temperature=nan is not allowed"),
        (["generate", "x", "--temperature", "hot"], "error: argument -t/--temperature: 'hot' is not a number"),
        (["generate", "x", "--max-tokens", "1.5"], "error: argument --max-tokens: '1.5' is not a whole number or none"),
        (["generate", "x", "--logit-bias", "5"], "error: argument --logit-bias: '5' is not a JSON object"),
        (["generate", "x", "--sampler-order", "heat"], "error: sampler_order='heat' is not allowed: step names are"),
        (["generate", "x", "--stream", "-n", "2"], "error: --stream shows one sequence"),
        (["generate", "x", "--stream", "--json"], "error: argument --json: not allowed with argument --stream"),
        (["generate", "x", "--system", "y"], "error: --system belongs to --chat"),
        (["generate", "x", "--kv-cache-memory", "much"], "error: argument --kv-cache-memory: 'much' is not a size"),
        (["generate", "x", "--dtype", "int3"], "error: argument --dtype: invalid choice: 'int3'"),
        (["chat", "-n", "2"], "error: n=2 is not allowed: 1 in a chat"),
        (["embed"], "error: give either texts or --input"),
        (["plan"], "error: the following arguments are required: model"),
    ],
    ids=" ".join,
)
def test_a_mistake_is_one_line_and_exit_code_2(aphrodite: CommandLine, argv: list[str], line: str) -> None:
    done = aphrodite(*argv)
    assert done.code == 2
    assert done.out == ""
    assert done.err.startswith(line)
    assert done.err.count("\n") == 1


def test_help_goes_to_standard_output(aphrodite: CommandLine, capsys: pytest.CaptureFixture[str]) -> None:
    assert aphrodite().out.startswith("usage: aphrodite COMMAND")
    with pytest.raises(SystemExit) as left:
        aphrodite("generate", "--help")
    assert left.value.code == 0
    assert "--top-p X" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 1 is not JSON"),
        ("5", 'line 1 must be a string, or an object with either "prompt" or "messages"'),
        ('{"prompt": "a", "messages": []}', 'line 1 must be a string, or an object with either "prompt" or "messages"'),
        ('{"prompt": [1, "a"]}', 'line 1: "prompt" must be a string or a list of token ids'),
        ('{"prompt": "a", "topp": 1}', "did you mean 'top_p'?"),
    ],
)
def test_a_wrong_line_of_json_is_named(aphrodite: CommandLine, tmp_path: Path, line: str, message: str) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text(line + "\n")
    done = aphrodite("generate", "--input", str(file))
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert message in done.err
