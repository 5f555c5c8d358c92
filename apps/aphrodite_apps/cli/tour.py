"""`aphrodite tour`: the first minute, from the bundled model; `make run` ends here."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import aphrodite
from aphrodite_apps.cli import terminal, version
from aphrodite_apps.cli.command import Command
from aphrodite_apps.cli.engine_flags import add_engine_flags, add_model_flag
from aphrodite_apps.cli.loading import open_model

# This pair was held back when the bundled model was trained (experiments/demo_model/skills/item.py).
QUESTION, EXPECTED = "What is 39 + 48?", str(39 + 48)
STORY, STORY_SEED = "Tell me a story about a fox named Pip.", 7

NEXT = (
    ("chat", "talk with the model"),
    ('generate "Once upon a time" --seed 7 --stream', "let it write on"),
    ("generate --help", "every sampling setting"),
    ("plan FOLDER", "what another model would take of memory"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_flag(parser, "demo")
    add_engine_flags(parser)


def run(arguments: argparse.Namespace) -> int:
    started = time.perf_counter()
    with open_model(arguments) as llm:
        _header(llm.plan, time.perf_counter() - started)
        _arithmetic(llm)
        same = _story_twice(llm)
    _next()
    return 0 if same else 1


def _header(plan: aphrodite.MemoryPlan, seconds: float) -> None:
    print(terminal.paint(f"Aphrodite Workbench {aphrodite.__version__}", "bold"))
    million = plan.num_parameters / 1e6
    lines = (
        f"model    {plan.model}: {million:.1f} million parameters, {plan.dtype} on {plan.device}, "
        f"ready after {seconds:.1f} s",
        f"memory   {terminal.size(plan.weight_bytes)} of weights, {terminal.size(plan.kv_bytes)} of KV cache, "
        f"at most {terminal.size(plan.activation_bytes)} while it works",
        f"context  {plan.max_model_len:,} tokens",
        f"kernels  {version.kernels(plan.device)}",
    )
    for line in lines:
        print("  " + terminal.paint(line, "dim"))


def _arithmetic(llm: aphrodite.LLM) -> None:
    answer, _ = _ask(llm, QUESTION, aphrodite.SamplingParams(temperature=0, max_tokens=64))
    if EXPECTED in answer:
        print(terminal.paint(f"  right: it is {EXPECTED}", "green"))
    else:
        print(terminal.paint(f"  wrong: it is {EXPECTED}; a model this small makes mistakes", "red"))


def _story_twice(llm: aphrodite.LLM) -> bool:
    """The promise of this engine, shown: the same seed gives the same tokens, here computed a second time."""
    params = aphrodite.SamplingParams(seed=STORY_SEED, temperature=0.8, max_tokens=200)
    started = time.perf_counter()
    _, first = _ask(llm, STORY, params)
    seconds = time.perf_counter() - started
    again = llm.chat([{"role": "user", "content": STORY}], params)[0].token_ids
    print(terminal.paint(f"  seed {STORY_SEED}, {terminal.speed(len(first), seconds)}", "dim"))
    if first == again:
        print(terminal.paint(f"  asked again with the same seed: all {len(again)} tokens are the same", "green"))
        return True
    equal = next((place for place, (a, b) in enumerate(zip(first, again, strict=False)) if a != b), len(again))
    print(terminal.paint(f"  asked again with the same seed: different from token {equal} on", "red"))
    return False


def _ask(llm: aphrodite.LLM, question: str, params: aphrodite.SamplingParams) -> tuple[str, list[int]]:
    """Ask, show the answer while it comes, and return it."""
    print("\n" + terminal.paint("> " + question, "bold", "cyan"))
    events = list(_shown(llm.stream([{"role": "user", "content": question}], params)))
    print()
    return "".join(event.text for event in events), [i for event in events for i in event.token_ids]


def _shown(events: Iterable[aphrodite.TokenEvent]) -> Iterable[aphrodite.TokenEvent]:
    for event in events:
        terminal.write(event.text)
        yield event


def _next() -> None:
    print("\n" + terminal.paint("Next", "bold"))
    ours = "aphrodite" if shutil.which("aphrodite") else os.path.relpath(Path(sys.executable).with_name("aphrodite"))
    width = max(len(command) for command, _ in NEXT)
    for command, meaning in NEXT:
        print(f"  {ours} {command:<{width}}  {terminal.paint(meaning, 'dim')}")


COMMAND = Command("tour", "see the bundled model answer, twice the same", add_arguments, run)
