"""`aphrodite generate` with the bundled model: the same bytes for the same seed, alone or among others."""

from __future__ import annotations

import json
import math
import signal
import subprocess
from pathlib import Path

import pytest

from tests.apps.cli import CommandLine, start

pytestmark = pytest.mark.slow

STORY = ("--seed", "7", "--max-tokens", "24", "--quiet")
PROMPT = "Once upon a time"


def test_a_seed_gives_the_same_bytes_twice(aphrodite: CommandLine) -> None:
    first, second = (aphrodite("generate", PROMPT, *STORY) for _ in range(2))
    assert first.code == 0
    assert first.out.strip()
    assert first.out == second.out


def test_another_seed_gives_another_text(aphrodite: CommandLine) -> None:
    texts = {aphrodite("generate", PROMPT, "--seed", seed, "--max-tokens", "24").out for seed in ("7", "8", "9")}
    assert len(texts) > 1


def test_streamed_or_not_or_read_from_a_pipe_the_bytes_are_the_same(aphrodite: CommandLine) -> None:
    whole = aphrodite("generate", PROMPT, *STORY)
    assert aphrodite("generate", PROMPT, *STORY, "--stream").out == whole.out
    assert aphrodite("generate", "-", *STORY, stdin=PROMPT + "\n").out == whole.out


def test_a_prompt_gives_the_same_bytes_alone_and_among_32(aphrodite: CommandLine, tmp_path: Path) -> None:
    alone = aphrodite("generate", PROMPT, *STORY).out
    others = [f"{number} + {number} =" + " word" * number for number in range(31)]
    file = tmp_path / "prompts.txt"
    file.write_text("\n".join([PROMPT, *others]) + "\n")
    many = aphrodite("generate", "--input", str(file), *STORY)
    assert many.code == 0
    assert many.out.startswith(alone + "---\n")
    lines = aphrodite("generate", "--input", str(file), *STORY, "--json").out.splitlines()
    assert len(lines) == 32
    assert json.loads(lines[0])["text"] + "\n" == alone


def test_json_names_everything(aphrodite: CommandLine) -> None:
    done = aphrodite("generate", PROMPT, *STORY, "--json", "--logprobs", "2", "--prompt-logprobs", "0")
    found = json.loads(done.out)
    assert done.out.count("\n") == 1
    assert found["prompt"] == PROMPT
    assert found["seed"] == 7
    assert found["finish_reason"] in ("length", "stop")
    assert found["usage"]["completion_tokens"] == len(found["token_ids"]) <= 24
    assert found["usage"]["total_tokens"] == found["usage"]["prompt_tokens"] + len(found["token_ids"])
    assert [position[0]["token_id"] for position in found["logprobs"]] == found["token_ids"]
    assert all(math.isfinite(entry["logprob"]) for position in found["logprobs"] for entry in position)
    assert found["prompt_logprobs"][0] is None
    assert len(found["prompt_logprobs"]) == found["usage"]["prompt_tokens"]
    assert found["timing"]["total_ms"] > 0


def test_n_sequences_come_separated_and_in_json_together(aphrodite: CommandLine) -> None:
    text = aphrodite("generate", PROMPT, *STORY, "-n", "3").out
    found = json.loads(aphrodite("generate", PROMPT, *STORY, "-n", "3", "--json").out)
    assert [each["index"] for each in found["outputs"]] == [0, 1, 2]
    assert text == "\n---\n".join(each["text"] for each in found["outputs"]) + "\n"


def test_a_seed_that_was_not_given_is_shown_and_replays(aphrodite: CommandLine) -> None:
    first = aphrodite("generate", PROMPT, "--max-tokens", "24")
    assert first.err.startswith("seed ")
    seed = first.err.split()[1]
    assert aphrodite("generate", PROMPT, "--max-tokens", "24", "--seed", seed).out == first.out


def test_quiet_leaves_standard_error_empty(aphrodite: CommandLine) -> None:
    assert aphrodite("generate", PROMPT, *STORY).err == ""


def test_lines_of_json_may_be_chats_ids_and_have_settings_of_their_own(aphrodite: CommandLine, tmp_path: Path) -> None:
    lines: list[object] = [
        {"messages": [{"role": "user", "content": "What is 39 + 48?"}], "temperature": 0, "max_tokens": 8},
        PROMPT,
        {"prompt": [5, 6, 7], "max_tokens": 3, "logit_bias": {"9": 100}, "ignore_eos": True, "temperature": 0},
        {"prompt": PROMPT, "seed": 8},
    ]
    file = tmp_path / "prompts.jsonl"
    file.write_text("\n".join(json.dumps(line) for line in lines))
    found = [
        json.loads(line) for line in aphrodite("generate", "--input", str(file), *STORY, "--json").out.splitlines()
    ]
    chat = aphrodite("generate", "--chat", "What is 39 + 48?", "-t", "0", "--max-tokens", "8", "--quiet").out
    assert found[0]["text"] + "\n" == chat
    assert found[1]["text"] + "\n" == aphrodite("generate", PROMPT, *STORY).out
    assert found[2]["token_ids"] == [9, 9, 9]
    assert found[3]["seed"] == 8


def test_output_goes_to_a_file(aphrodite: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "text"
    done = aphrodite("generate", PROMPT, *STORY, "--output", str(file))
    assert done.out == ""
    assert file.read_text(encoding="utf-8") == aphrodite("generate", PROMPT, *STORY).out


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (["generate", "x", "--model", "no/such-model"], 1, "no/such-model"),
        (["generate", "x", "--max-model-len", "1000000"], 2, "max_model_len=1000000 is not allowed"),
        (["generate", "word " * 60, "--max-model-len", "32"], 2, "max_model_len=32"),
        (["generate", "x", "--allowed-token-ids", "99999999"], 2, "99999999"),
        (["generate", "x", "--quantization", "int2"], 2, "quantization='int2' is not allowed"),
        (["generate", "x", "--device", "abacus"], 2, "device='abacus' is not allowed"),
        (["plan", "no/such-model"], 1, "no/such-model"),
        (["generate", "x", "--kv-cache-memory", "900TiB"], 1, "kv_cache_memory"),
    ],
)
def test_what_the_engine_refuses_is_one_line(aphrodite: CommandLine, argv: list[str], code: int, message: str) -> None:
    done = aphrodite(*argv)
    assert (done.code, done.out, done.err.count("\n")) == (code, "", 1), done.err
    assert done.err.startswith("error: ")
    assert message in done.err


def test_an_output_file_of_an_earlier_run_outlives_a_failure(aphrodite: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "text"
    file.write_text("yesterday's answers")
    assert aphrodite("generate", "x", "--model", "no/such-model", "--output", str(file)).code == 1
    assert file.read_text() == "yesterday's answers"


@pytest.mark.slow
def test_an_interrupt_keeps_the_partial_text() -> None:
    process = start("generate", PROMPT, "--stream", "--ignore-eos", "--max-tokens", "none", "--seed", "7")
    assert process.stdout is not None
    beginning = process.stdout.read(20)
    process.send_signal(signal.SIGINT)
    rest, notes = process.communicate(timeout=60)
    assert process.returncode == 130
    assert len(beginning) == 20
    assert rest.endswith("\n")
    assert "Traceback" not in notes
    assert "interrupted" in notes


def test_a_refused_prompt_among_many_is_named_and_nothing_is_written(aphrodite: CommandLine, tmp_path: Path) -> None:
    prompts, answers = tmp_path / "prompts.txt", tmp_path / "answers"
    prompts.write_text(f"one\ntwo\n{'three ' * 40}\n")
    answers.write_text("yesterday's answers")
    done = aphrodite("generate", "--input", str(prompts), *STORY, "--max-model-len", "32", "--output", str(answers))
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert done.err.startswith("error: prompt 3: prompt=")
    assert answers.read_text() == "yesterday's answers"


@pytest.mark.slow
def test_an_interrupt_among_many_keeps_the_finished_ones(tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl"
    endless = {"prompt": PROMPT, "ignore_eos": True, "max_tokens": None}
    file.write_text("\n".join(json.dumps(line) for line in ({"prompt": PROMPT, "max_tokens": 3}, endless, endless)))
    process = start("generate", "--input", str(file), "--json", "--seed", "7")
    assert process.stdout is not None
    first = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    rest, notes = process.communicate(timeout=60)
    assert (process.returncode, rest) == (130, "")
    assert len(json.loads(first)["token_ids"]) == 3
    assert "Traceback" not in notes


@pytest.mark.slow
def test_a_reader_that_leaves_early_is_no_error() -> None:
    process = start("generate", PROMPT, "--stream", "--ignore-eos", "--max-tokens", "400")
    assert process.stdout is not None
    process.stdout.read(5)
    process.stdout.close()
    assert process.wait(timeout=60) == 141
    assert process.stderr is not None
    with process.stderr, process.stdin:  # type: ignore[union-attr]
        assert "Error" not in process.stderr.read()


@pytest.mark.slow
def test_two_processes_print_the_same_bytes() -> None:
    texts = []
    for _ in range(2):
        process = start("generate", PROMPT, *STORY, stderr=subprocess.DEVNULL)
        texts.append(process.communicate(timeout=60)[0])
    assert texts[0] == texts[1] != ""


@pytest.mark.gpu
def test_on_a_gpu_a_seed_gives_the_same_bytes_twice(aphrodite: CommandLine) -> None:
    texts = {aphrodite("generate", PROMPT, *STORY, "--device", "cuda").out for _ in range(2)}
    assert len(texts) == 1
    assert texts != {""}


def test_json_holds_the_stages_that_were_asked_for(aphrodite: CommandLine) -> None:
    flags = ("--preset", "creative", "--trace", "2", "--max-tokens", "3", "--json")
    found = json.loads(aphrodite("generate", "Once", *flags).out)
    assert [[stage["name"] for stage in stages] for stages in found["traces"]] == [
        ["model", "min_p", "temperature"]
    ] * 3
    assert all(1 <= len(stage["top"]) <= 2 for stages in found["traces"] for stage in stages)
