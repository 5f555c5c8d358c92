"""One flag for each field of SamplingParams, made from its types and its docstring: they cannot drift apart."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, fields
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from aphrodite_engine.params import DEFAULT_SAMPLER_ORDER, SamplingParams

SHORT = {"n": "-n", "temperature": "-t", "seed": "-s"}

#: Lists of names, which never hold a comma; other lists of strings are given by repeating the flag.
COMMA_LISTS = frozenset({"sampler_order"})

_DESTINATION = "sampling__"  # keeps the fields apart from a command's own flags


def add_sampling_flags(parser: argparse.ArgumentParser) -> None:
    """Add every field as a long flag; one that is not given leaves the field at its default."""
    group = parser.add_argument_group("sampling", "how tokens are drawn and when the text ends")
    meaning_of, types = meanings(), get_type_hints(SamplingParams)
    for field in fields(SamplingParams):
        if not field.init:
            continue
        names = [*([SHORT[field.name]] if field.name in SHORT else []), "--" + field.name.replace("_", "-")]
        meaning = f"{meaning_of.get(field.name, '').replace('None', 'none')} (default: {_shown(field)})"
        options: dict[str, Any] = {
            "dest": _DESTINATION + field.name,
            "default": argparse.SUPPRESS,
            "help": meaning.replace("%", "%%"),
        }
        group.add_argument(*names, **options, **_action(field.name, types[field.name]))


def sampling_fields(arguments: argparse.Namespace) -> dict[str, Any]:
    """The fields that were given on the command line."""
    given = {
        name.removeprefix(_DESTINATION): value
        for name, value in vars(arguments).items()
        if name.startswith(_DESTINATION)
    }
    for name, value in given.items():
        if isinstance(value, list) and value and isinstance(value[0], list):  # a repeated flag: join its parts
            given[name] = [item for part in value for item in part]
    return given


def _action(name: str, kind: Any) -> dict[str, Any]:
    """How argparse reads a field of this type."""
    alternatives, optional = without_none(kind)
    if bool in alternatives:
        return {"action": argparse.BooleanOptionalAction}
    if get_origin(alternatives[0]) is Literal:
        choices = get_args(alternatives[0])
        return {"type": type(choices[0]), "choices": choices}
    sequence = next((a for a in alternatives if get_origin(a) is Sequence), None)
    if sequence is not None:
        item = get_args(sequence)[0]
        if item is str and name not in COMMA_LISTS:
            return {"action": "append", "metavar": "TEXT"}
        if item is str:
            return {"type": _comma_list(str, "names"), "metavar": "NAME,NAME"}
        return {"action": "append", "type": _comma_list(item, "whole numbers"), "metavar": "ID,ID"}
    if get_origin(alternatives[0]) is Mapping:
        return {"type": _object if get_args(alternatives[0])[0] is str else _mapping, "metavar": "JSON"}
    if alternatives[0] in (int, float):
        return {"type": _number(alternatives[0], optional), "metavar": "N" if alternatives[0] is int else "X"}
    if alternatives[0] is str:
        return {"metavar": "TEXT"}
    raise TypeError(f"SamplingParams.{name} has type {kind}, which no flag can express yet")


def without_none(kind: Any) -> tuple[list[Any], bool]:
    """The alternatives of a type besides None, and whether None is one."""
    parts = list(get_args(kind)) if get_origin(kind) in (Union, UnionType) else [kind]
    return [part for part in parts if part is not NoneType], NoneType in parts


def _number(kind: type[int] | type[float], optional: bool) -> Callable[[str], int | float | None]:
    def parse(text: str) -> int | float | None:
        if optional and text.lower() == "none":
            return None
        try:
            return kind(text)
        except ValueError:
            wanted = "a whole number" if kind is int else "a number"
            raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}{' or none' if optional else ''}") from None

    return parse


def _comma_list(kind: Callable[[str], Any], noun: str) -> Callable[[str], list[Any]]:
    def parse(text: str) -> list[Any]:
        try:
            return [kind(part.strip()) for part in text.split(",") if part.strip()]
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a list of {noun} separated by commas") from None

    return parse


def _mapping(text: str) -> dict[int, float]:
    try:
        return {int(token_id): value for token_id, value in json.loads(text).items()}
    except (ValueError, AttributeError):
        message = f"{text!r} is not a JSON object from token id to number, such as '{{\"5\": -100}}'"
        raise argparse.ArgumentTypeError(message) from None


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        message = f"{text!r} is not a JSON object, such as '{{\"json_object\": true}}'"
        raise argparse.ArgumentTypeError(message)
    return value


def meanings() -> dict[str, str]:
    """Field name -> its line of the class's docstring."""
    found: dict[str, str] = {}
    name = ""
    for line in (SamplingParams.__doc__ or "").splitlines():
        start = re.match(r" {8}(\w+): (.+)", line)
        if start:
            name = start[1]
            found[name] = start[2].strip()
        elif name and line.startswith(" " * 12):
            found[name] += " " + line.strip()
        else:
            name = ""
    return found


def _shown(field: Field[Any]) -> str:
    if field.name == "sampler_order":
        return ",".join(DEFAULT_SAMPLER_ORDER)
    if field.default is None or field.default == ():
        return "none"
    return str(field.default).lower() if isinstance(field.default, bool) else str(field.default)
