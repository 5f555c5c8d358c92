"""`aphrodite generate`: text from prompts, the same text for the same seed."""

from __future__ import annotations

import argparse
import shlex
import time
from collections.abc import Sequence

import aphrodite
from aphrodite.sampling_flags import add_sampling_flags
from aphrodite_apps.cli import output, prompts, terminal
from aphrodite_apps.cli.command import Command, UsageError
from aphrodite_apps.cli.engine_flags import add_engine_flags, add_model_flag
from aphrodite_apps.cli.loading import open_model
from aphrodite_apps.cli.presets import add_preset_flag, preset_fields

EPILOG = """examples:
  aphrodite generate "Once upon a time" --seed 7 --max-tokens 80 --stream
  aphrodite generate --chat "What is 39 + 48?" --temperature 0
  aphrodite generate --input prompts.txt --json --output answers.jsonl
  aphrodite generate "Once upon a time" --recipe story.json && aphrodite replay story.json

Results go to standard output, everything else to standard error.
With a seed, equal command lines print equal text.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("prompt", nargs="?", help="the text to go on from; - reads it from standard input")
    add_model_flag(parser, "demo")
    parser.add_argument(
        "--input",
        metavar="FILE",
        help="one prompt a line (empty lines are skipped), - is standard input; in a *.jsonl file each line is a JSON "
        'string, or an object with "prompt" or "messages" and sampling fields of its own (default: none)',
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="write results there (default: standard output)")
    parser.add_argument(
        "--recipe",
        metavar="FILE",
        help="write there what `aphrodite replay` needs to make the result again (default: none)",
    )
    parser.add_argument("--chat", action="store_true", help="send the prompt as a chat message (default: as it stands)")
    parser.add_argument("--system", metavar="TEXT", help="the system message of --chat (default: none)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--stream", action="store_true", help="print text while it is generated (default: when done)")
    form.add_argument(
        "--json",
        action="store_true",
        help="one JSON object a prompt: text, token_ids, finish_reason, seed, logprobs, usage, timing (default: text)",
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="no seed and speed on stderr (default: shown)")
    add_preset_flag(parser)
    add_sampling_flags(parser)
    add_engine_flags(parser)


def run(arguments: argparse.Namespace) -> int:
    asked = _asked(arguments)
    given = preset_fields(arguments)
    params = [aphrodite.SamplingParams.from_fields({**given, **prompt.fields}) for prompt in asked]
    single = len(asked) == 1 and params[0].n == 1
    if arguments.stream and not single:
        raise UsageError("--stream shows one sequence: give one prompt and leave n at 1")
    if arguments.recipe is not None and len(asked) != 1:
        raise UsageError(f"--recipe holds one result: give one prompt, not {len(asked)}")
    output.check(arguments.output)
    output.check(arguments.recipe)
    with open_model(arguments) as llm:
        if single and not arguments.json:
            _one(llm, asked[0], params[0], arguments)
        else:
            _many(llm, asked, params, arguments)
    return 0


def _asked(arguments: argparse.Namespace) -> list[prompts.Prompt]:
    if (arguments.prompt is None) == (arguments.input is None):
        raise UsageError('give either a prompt or --input FILE, e.g.: aphrodite generate "Once upon a time"')
    if arguments.system is not None and not arguments.chat:
        raise UsageError("--system belongs to --chat")
    if arguments.input is not None:
        return prompts.read_file(arguments.input, arguments.chat, arguments.system)
    text = prompts.read_stdin() if arguments.prompt == "-" else arguments.prompt
    return [prompts.from_text(text, arguments.chat, arguments.system)]


def _one(
    llm: aphrodite.LLM, prompt: prompts.Prompt, params: aphrodite.SamplingParams, arguments: argparse.Namespace
) -> None:
    """One sequence is always streamed inside, so that an interrupt keeps what was there."""
    result = aphrodite.GenerationResult("", None, [], [aphrodite.CompletionOutput(0, params.seed or 0)])
    events: list[aphrodite.TokenEvent] = []
    started = time.perf_counter()
    stream = llm.stream(prompt.content, params)  # what is refused is refused here, before a file is touched
    with output.opened(arguments.output) as file:
        try:
            for event in stream:
                events.append(event)
                result.add(event)
                result.outputs[0].seed = event.seed
                if arguments.stream:
                    print(event.text, end="", file=file, flush=True)
        finally:
            print("" if arguments.stream else result.text, file=file, flush=True)
            if not arguments.quiet and events:
                _summary_of_one(events, params, time.perf_counter() - started)
    _keep_recipe(result, arguments)


def _keep_recipe(result: aphrodite.GenerationResult, arguments: argparse.Namespace) -> None:
    if arguments.recipe is None:
        return
    result.recipe.save(arguments.recipe)
    if not arguments.quiet:
        terminal.note(f"recipe in {arguments.recipe} (again: aphrodite replay {shlex.quote(arguments.recipe)})")


def _summary_of_one(events: Sequence[aphrodite.TokenEvent], params: aphrodite.SamplingParams, seconds: float) -> None:
    tokens = sum(len(event.token_ids) for event in events)
    reason = events[-1].finish_reason or "interrupted"
    replay = "" if params.seed is not None else f" (again: --seed {events[0].seed})"
    terminal.note(f"seed {events[0].seed}{replay} · {terminal.speed(tokens, seconds)} · {reason}")


def _many(
    llm: aphrodite.LLM,
    asked: list[prompts.Prompt],
    params: list[aphrodite.SamplingParams],
    arguments: argparse.Namespace,
) -> None:
    from aphrodite_apps.cli.many import answer_all  # asyncio and tqdm: a third of what the command line costs

    seeds, sequences, tokens, started = set[int](), 0, 0, time.perf_counter()
    writer = output.Writer(arguments.output, as_json=arguments.json)

    def emit(result: aphrodite.GenerationResult) -> None:
        nonlocal sequences, tokens
        writer.write(result)
        _keep_recipe(result, arguments)
        seeds.update(each.seed for each in result.outputs)
        sequences, tokens = (
            sequences + len(result.outputs),
            tokens + sum(len(each.token_ids) for each in result.outputs),
        )

    try:
        answer_all(llm, asked, params, emit)
    finally:
        writer.close()
        if not arguments.quiet and sequences:
            shown = f"seed {seeds.pop()}" if len(seeds) == 1 else "--json shows each seed"
            unit = "text" if sequences == 1 else "texts"
            terminal.note(f"{sequences} {unit} · {terminal.speed(tokens, time.perf_counter() - started)} · {shown}")


COMMAND = Command("generate", "write on from a prompt, or answer it", add_arguments, run, "PROMPT [flags]", EPILOG)
