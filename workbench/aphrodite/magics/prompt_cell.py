"""`%%aphrodite`: the cell is the prompt; the answer streams below it."""

from __future__ import annotations

import argparse

from aphrodite.display.generation import Generation
from aphrodite.magics.asked import Asked, asked
from aphrodite.magics.controls import control
from aphrodite.magics.follow import follow
from aphrodite.magics.into import add_into_flag
from aphrodite.magics.notebook import Notebook
from aphrodite.magics.parser import Parser, add_field_flag
from aphrodite.magics.screens import FinalScreen, LiveScreen, NoScreen, PrintedScreen, Screen
from aphrodite.magics.shown import Shown
from aphrodite.magics.sliders import Sliders
from aphrodite.sampling_flags import add_sampling_flags


def parser() -> Parser:
    """The flags of a prompt cell."""
    found = Parser("%%aphrodite", "The cell is the prompt, and the answer appears below it.")
    found.add_argument("--interact", action="append", default=[], metavar="FIELD,FIELD",
                       help="sliders for these fields below the answer; moving one asks again")  # fmt: skip
    add_prompt_flags(found)
    return found


def add_prompt_flags(found: argparse.ArgumentParser) -> None:
    """What `%%aphrodite` and `%aphrodite generate` and `chat` share."""
    found.add_argument("-m", "--model", help="a served model (default: the only one)")
    found.add_argument("--system", metavar="TEXT", help="a system message; makes the prompt a chat")
    found.add_argument("--chat", nargs="?", const="", metavar="NAME",
                       help="answer as a chat; a name keeps the conversation for later cells")  # fmt: skip
    found.add_argument("--schema", metavar="NAME",
                       help="the answer is JSON of this variable's schema: a dict, or a pydantic model")  # fmt: skip
    found.add_argument("--preset", metavar="NAME", help="start from a named set of parameters")
    add_into_flag(found)
    found.add_argument("--shade", choices=("probability", "entropy", "none"),
                       help="what the answer's tokens are shaded by (default: the setting, probability)")  # fmt: skip
    found.add_argument("--raw", action="store_true", help="braces are text: no {{expr}}")
    add_field_flag(found)
    add_sampling_flags(found)


def run(notebook: Notebook, arguments: argparse.Namespace, text: str) -> None:
    """Ask, show the answer while it comes, keep it where --chat and --into say."""
    request, screen = asked(notebook, arguments, text), _screen(notebook)
    names = [name.strip().replace("-", "_") for given in arguments.interact for name in given.split(",")]
    controls = {name: control(name, getattr(request.params, name, None)) for name in names}
    keep(notebook, arguments, request, follow(notebook, request, screen))
    if controls and isinstance(screen, LiveScreen):
        Sliders(notebook, request, controls, screen, arguments.into).show()


def value(notebook: Notebook, arguments: argparse.Namespace, text: str) -> Generation | None:
    """The same as the value of a line, which a notebook streams too; None where --into has taken it."""
    request = asked(notebook, arguments, text)
    streams = notebook.settings.display != "static" and not notebook.is_terminal
    found = follow(notebook, request, _screen(notebook) if streams else NoScreen())
    if streams:
        found = Shown(found, lambda: notebook.cell)
    keep(notebook, arguments, request, found)
    return None if arguments.into else found


def keep(notebook: Notebook, arguments: argparse.Namespace, request: Asked, generation: Generation) -> None:
    """Remember the result as the last one and under its name, and the conversation unless it was interrupted."""
    notebook.last = generation
    if arguments.chat and generation.finish_reason != "abort":
        assert isinstance(request.prompt, list)
        notebook.conversations[arguments.chat] = [*request.prompt, {"role": "assistant", "content": generation.text}]
    if arguments.into:
        notebook.names[arguments.into] = generation


def _screen(notebook: Notebook) -> Screen:
    mode = notebook.settings.display
    if mode == "static":
        return FinalScreen()
    return PrintedScreen() if mode == "plain" or notebook.is_terminal else LiveScreen()
