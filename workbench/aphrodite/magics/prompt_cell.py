"""`%%aphrodite`: the cell is the prompt; the answer streams below it."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from IPython.display import DisplayHandle, display

from aphrodite.display.generation import Generation
from aphrodite.magics.errors import UsageError
from aphrodite.magics.notebook import Notebook
from aphrodite.magics.parser import Parser, add_field_flag
from aphrodite.magics.templating import fill
from aphrodite.presets import Presets
from aphrodite.sampling_flags import add_sampling_flags, sampling_fields
from aphrodite_engine.errors import AphroditeError
from aphrodite_engine.outputs import CompletionOutput, GenerationResult, TokenEvent
from aphrodite_engine.params import SamplingParams

#: Seconds between two updates of a streaming output.
_PAUSE = 0.05
#: Alternatives asked for, so that tokens can be shaded and hovered; they change no token.
_ALTERNATIVES = 5


def parser() -> Parser:
    """The flags of a prompt cell."""
    found = Parser("%%aphrodite", "The cell is the prompt, and the answer appears below it.")
    add_prompt_flags(found)
    return found


def add_prompt_flags(found: argparse.ArgumentParser) -> None:
    """What `%%aphrodite` and `%aphrodite generate` and `chat` share."""
    found.add_argument("-m", "--model", help="a served model (default: the only one)")
    found.add_argument("--system", metavar="TEXT", help="a system message; makes the prompt a chat")
    found.add_argument("--chat", nargs="?", const="default", metavar="NAME",
                       help="answer as a chat; a name keeps the conversation for later cells")  # fmt: skip
    found.add_argument("--schema", metavar="NAME", help="the answer is JSON of this variable's schema (a dict)")
    found.add_argument("--preset", metavar="NAME", help="start from a named set of parameters")
    found.add_argument("-o", "--into", metavar="NAME", help="keep the result in this variable")
    found.add_argument("--raw", action="store_true", help="braces are text: no {{expr}}")
    add_field_flag(found)
    add_sampling_flags(found)


@dataclass(frozen=True)
class Asked:
    """One request as a cell means it: a prompt, or a conversation."""

    prompt: str | list[Mapping[str, Any]]
    params: SamplingParams
    fields: dict[str, Any]
    model: str


def run(notebook: Notebook, arguments: argparse.Namespace, text: str) -> Generation:
    """Ask, show the answer while it comes, keep it where --chat and --into say."""
    asked = ask(notebook, arguments, text)
    generation = follow(notebook, asked)
    if arguments.chat and generation.finish_reason != "abort":
        remember(notebook, arguments.chat, asked, generation)
    if arguments.into:
        if not arguments.into.isidentifier():
            raise UsageError(f"--into {arguments.into!r} is not the name of a variable")
        notebook.names[arguments.into] = generation
    notebook.names["_aphrodite"] = generation
    return generation


def ask(notebook: Notebook, arguments: argparse.Namespace, text: str) -> Asked:
    """From flags and text to a request.

    Raises:
        UsageError: a template that fails, a variable that is not there.
        ParameterError: a field out of range.
    """
    prompt = text if arguments.raw else fill(text, notebook.names)
    fields = {
        **Presets().read(arguments.preset or notebook.settings.preset),
        **dict(arguments.fields),
        **sampling_fields(arguments),
    }
    if arguments.schema:
        fields["structured_outputs"] = {"json": _schema(notebook, arguments.schema)}
    params = SamplingParams.from_fields({"logprobs": _ALTERNATIVES, **fields})
    model = notebook.model(arguments.model)
    if not (arguments.chat or arguments.system):
        return Asked(prompt, params, fields, model)
    messages = list(notebook.conversations.get(arguments.chat or "", ()))
    if arguments.system:
        messages = [{"role": "system", "content": arguments.system}, *(m for m in messages if m["role"] != "system")]
    return Asked([*messages, {"role": "user", "content": prompt.strip()}], params, fields, model)


def remember(notebook: Notebook, name: str, asked: Asked, generation: Generation) -> None:
    """Add the question and its answer to the conversation."""
    assert isinstance(asked.prompt, list)
    notebook.conversations[name] = [*asked.prompt, {"role": "assistant", "content": generation.text}]


def follow(notebook: Notebook, asked: Asked) -> Generation:
    """Show a generation while it comes; the last update is the finished object, also after an interrupt."""
    mode = notebook.settings.display
    screen = _Screen(live=mode == "rich")
    shown_prompt = asked.prompt if isinstance(asked.prompt, str) else None
    outputs = [CompletionOutput(index, asked.params.seed or 0) for index in range(asked.params.n)]
    result = GenerationResult("", shown_prompt, [], outputs)
    generation = Generation(result, asked.model, asked.fields)
    try:
        for event in _events(notebook, asked):
            result.add(event)
            result.outputs[event.index].seed = event.seed
            screen.update(generation)
    except KeyboardInterrupt:
        for output in result.outputs:
            output.finish_reason = output.finish_reason or "abort"
    if mode == "plain":
        print(repr(generation))
    else:
        screen.finish(generation)
    return generation


def _events(notebook: Notebook, asked: Asked) -> Iterator[TokenEvent]:
    try:
        yield from notebook.client().stream(asked.prompt, asked.params, model=asked.model)
    except AphroditeError as error:
        raise UsageError(str(error)) from None


class _Screen:
    """One output that is updated at most 20 times a second."""

    def __init__(self, live: bool) -> None:
        self._live = live
        self._handle: DisplayHandle | None = None
        self._shown = 0.0

    def update(self, generation: Generation) -> None:
        if not self._live or time.monotonic() - self._shown < _PAUSE:
            return
        self._show(generation)
        self._shown = time.monotonic()

    def finish(self, generation: Generation) -> None:
        self._show(generation)

    def _show(self, generation: Generation) -> None:
        if self._handle is not None:
            self._handle.update(generation)
        elif self._live:
            self._handle = display(generation, display_id=True)
        else:
            display(generation)


def _schema(notebook: Notebook, name: str) -> Any:
    found = notebook.names.get(name)
    if found is None:
        raise UsageError(f"--schema {name}: no variable of that name")
    if hasattr(found, "model_json_schema"):  # a pydantic model
        return found.model_json_schema()
    try:
        json.dumps(found)
    except TypeError:
        raise UsageError(
            f"--schema {name}: a JSON schema (a dict) or a pydantic model, not {type(found).__name__}"
        ) from None
    return found
