"""Completion of sub-commands, flags and their values, through IPython's matchers (the tab key, and JupyterLab's)."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from IPython.core.completer import CompletionContext, SimpleCompletion, SimpleMatcherResult, context_matcher

from aphrodite.magics import commands
from aphrodite.magics.known_models import known_models
from aphrodite.magics.notebook import Notebook
from aphrodite.magics.parser import Parser, parser_of
from aphrodite.presets import Presets
from aphrodite_engine.params import SamplingParams

_LINE = re.compile(r"\s*(?:[\w.,\[\]'\" ]+=\s*)?%aphrodite\s(?P<rest>.*)")
_CELL = re.compile(r"%%aphrodite\s(?P<rest>.*)")
_EXPRESSION = re.compile(r".*\{\{-?\s*(?:[^}]*[^\w.}])?(?P<name>[\w.]*)", re.DOTALL)
_VARIABLES = ("into", "schema", "prompts", "texts", "of", "a", "b", "what")

Matcher = Callable[[CompletionContext], SimpleMatcherResult]


def matcher(notebook: Notebook) -> Matcher:
    """What IPython asks at every tab."""

    @context_matcher(identifier="aphrodite")
    def complete(context: CompletionContext) -> SimpleMatcherResult:
        fragment, found = _candidates(notebook, context)
        fitting = sorted({word for word in found if word.startswith(fragment)})
        completions = [SimpleCompletion(text=word) for word in fitting]
        return SimpleMatcherResult(completions=completions, matched_fragment=fragment, suppress=bool(fitting))

    return complete


def _candidates(notebook: Notebook, context: CompletionContext) -> tuple[str, Iterable[str]]:
    """What is being typed, and what it could become."""
    typed, first_line = context.text_until_cursor, context.full_text.partition("\n")[0]
    in_cell = first_line.startswith("%%aphrodite")
    line = _CELL.fullmatch(typed) if in_cell and context.cursor_line == 0 else _LINE.fullmatch(typed)
    if (in_cell or line) and (expression := _EXPRESSION.fullmatch(typed)):
        return _attribute(notebook, expression["name"])
    if line is None:
        return "", ()
    *words, fragment = line["rest"].split(" ")
    words = [word for word in words if word]
    if in_cell:
        from aphrodite.magics import prompt_cell  # numpy, a tenth of a second that %load_ext need not take

        return _argument(notebook, prompt_cell.parser(), words, fragment)
    if not words:
        return fragment, commands.names()
    if words[0] not in commands.names():
        return fragment, ()
    return _argument(notebook, parser_of(commands.find(words[0])), words[1:], fragment)


def _argument(notebook: Notebook, parser: Parser, words: Sequence[str], fragment: str) -> tuple[str, Iterable[str]]:
    flags = parser.flags()
    name, equals, value = fragment.partition("=")
    if equals and name in flags:
        return value, _values(notebook, flags[name])
    last = flags.get(words[-1]) if words else None
    if last is not None and last.nargs != 0 and not fragment.startswith("-"):
        return fragment, _values(notebook, last)
    if fragment.startswith("-"):
        return fragment, flags
    plain = [word for word in words if not word.startswith("-")]
    places = parser.places()
    if parser.prog.endswith(" presets") and len(plain) == 1:
        return fragment, Presets().names()
    if len(plain) < len(places):
        return fragment, _values(notebook, places[len(plain)])
    return fragment, ()


def _values(notebook: Notebook, action: argparse.Action) -> Iterable[str]:
    """What may stand behind a flag."""
    if action.choices is not None:
        return map(str, action.choices)
    if action.dest == "model":
        return known_models(notebook)
    if action.dest == "preset":
        return Presets().names()
    if action.dest == "chat":
        return list(notebook.conversations)
    if action.dest == "interact":
        return SamplingParams.field_names()
    if action.dest == "fields":
        return [f"{name}=" for name in SamplingParams.field_names()]
    return notebook.variables() if action.dest in _VARIABLES else ()


def _attribute(notebook: Notebook, name: str) -> tuple[str, Iterable[str]]:
    """Names in `{{expr`: variables, and what belongs to one."""
    base, dot, fragment = name.rpartition(".")
    if not dot:
        return fragment, notebook.variables()
    found: Any = notebook.names.get(base)
    return fragment, () if found is None else [word for word in dir(found) if not word.startswith("_")]
