"""The sampling fields as a page shows them: made from the types and the documentation of SamplingParams.

Text that people type into a page is read by the same parser that reads the flags of the shell and of the magics.
"""

from __future__ import annotations

import argparse
import enum
import functools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from aphrodite.argument_parser import OneLineParser
from aphrodite.presets import differences
from aphrodite.sampling_flags import COMMA_LISTS, add_sampling_flags, sampling_fields
from aphrodite.sampling_sliders import SLIDERS
from aphrodite_engine.errors import ParameterError
from aphrodite_engine.params import SamplingParams

#: What the page decides itself: it shows one sequence, shaded, and no log-probabilities of the prompt.
NOT_SHOWN = frozenset(("n", "logprobs", "prompt_logprobs", "trace"))
#: Whole numbers that a browser, which counts in doubles, would round.
_BEYOND_DOUBLES = frozenset(("seed",))
#: The first pattern that is found in a field's name is its group; a field that nobody has thought of is in the last.
GROUPS: tuple[tuple[str, str], ...] = (
    ("Essentials", r"^(temperature|max_tokens|seed)$"),
    ("Truncation", r"^(top_|min_p$|typical|epsilon|eta|tfs|xtc)"),
    ("Shape", r"^(dynatemp|smoothing|skew|mirostat|adaptive)"),
    ("Repetition", r"penalt|repe|dry_"),
    ("Where it ends", r"stop|min_tokens|eos|special"),
    ("Constraints", r"logit_bias|token_ids|structured|bad_words|phrases"),
    ("More", ""),
)
_WRITTEN = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "\\": "\\\\"}


class Control(enum.Enum):
    """How a field is shown."""

    SLIDER = "slider"
    NUMBER = "number"  # empty is None
    SWITCH = "switch"
    CHOICE = "choice"
    LINE = "line"  # as its flag is written; empty is its default
    LINES = "lines"  # one string a line
    JSON = "json"


@dataclass(frozen=True)
class SamplerField:
    """One field.

    Attributes:
        neutral: its default, which changes nothing.
        is_optional: None means something: the field is left empty.
        low, high, step: of a slider.
        choices: of a choice.
    """

    name: str
    meaning: str
    group: str
    control: Control
    neutral: Any
    is_whole: bool = False
    is_optional: bool = False
    low: float = 0.0
    high: float = 0.0
    step: float = 0.01
    choices: tuple[str, ...] = ()


class _Parser(OneLineParser):
    mistake = ValueError


@functools.cache
def sampler_fields() -> tuple[SamplerField, ...]:
    """Every field that a page shows, group by group."""
    types, neutral = get_type_hints(SamplingParams), SamplingParams()
    actions = _actions()
    found = [
        _field(name, types[name], getattr(neutral, name), _meaning(actions[name]))
        for name in SamplingParams.field_names()
        if name not in NOT_SHOWN
    ]
    order = [group for group, _ in GROUPS]
    return tuple(sorted(found, key=lambda field: order.index(field.group)))


def shown(field: SamplerField, value: Any) -> Any:
    """A field's value as its control has it."""
    if field.control in (Control.SLIDER, Control.NUMBER, Control.SWITCH, Control.CHOICE):
        return value
    if value is None or value == field.neutral:
        return ""
    if field.control is Control.LINES:
        strings = [value] if isinstance(value, str) else value
        return "\n".join(map(_escaped, strings))
    if field.control is Control.JSON:
        return json.dumps(value, ensure_ascii=False)
    return ", ".join(map(str, value)) if isinstance(value, Sequence) and not isinstance(value, str) else str(value)


def read(field: SamplerField, value: Any) -> Any:
    """What a control holds, as the field's value.

    Raises:
        ParameterError: text that cannot be one.
    """
    if field.control is Control.NUMBER:
        if value is None or value == "":
            return None if field.is_optional else field.neutral
        return int(value) if field.is_whole else float(value)
    if field.control is Control.SLIDER:
        return int(value) if field.is_whole else float(value)
    if field.control in (Control.SWITCH, Control.CHOICE):
        return value
    text = (value or "").strip("\r\n") if field.control is Control.LINES else (value or "").strip()
    if not text:
        return field.neutral
    return _from_text(field, text)


def fields_of(values: Sequence[Any]) -> dict[str, Any]:
    """What the controls hold, in the order of `sampler_fields`: the fields that differ from neutral.

    Raises:
        ParameterError: naming the field.
    """
    given = ((field, read(field, value)) for field, value in zip(sampler_fields(), values, strict=True))
    return differences({field.name: value for field, value in given if value != field.neutral})


def values_of(fields: Mapping[str, Any]) -> list[Any]:
    """What the controls are to hold for these fields, neutral where none is given."""
    return [shown(field, fields.get(field.name, field.neutral)) for field in sampler_fields()]


def _from_text(field: SamplerField, text: str) -> Any:
    flag = "--" + field.name.replace("_", "-")
    if field.control is Control.LINES:
        parts = [_unescaped(line) for line in text.split("\n") if line]
    else:
        parts = [text]
    try:
        namespace = _parser().parse([f"{flag}={part}" for part in parts])
    except ValueError as error:
        reason = str(error).split(": ", 1)[-1].removesuffix(f" (see {_parser().prog} --help)")
        raise ParameterError(field.name, text, reason.rpartition(" is not ")[2]) from error
    return sampling_fields(namespace)[field.name]


def _escaped(string: str) -> str:
    r"""One string as one line: what a text field would end the line at, or not show, is written `\n`, `\u001f`."""
    return re.sub(r"[\\\x00-\x1f]", lambda found: _WRITTEN.get(found[0], f"\\u{ord(found[0]):04x}"), string)


def _unescaped(line: str) -> str:
    r"""The string that a line means: people write `\n` and `\t`, because the field's own line ends divide strings."""
    meant = {written: character for character, written in _WRITTEN.items()}
    pattern = r"\\(?:[ntr\\]|u[0-9a-fA-F]{4})"
    return re.sub(pattern, lambda found: meant.get(found[0]) or chr(int(found[0][2:], 16)), line)


@functools.cache
def _parser() -> _Parser:
    parser = _Parser(prog="sampling", add_help=False, allow_abbrev=False)
    add_sampling_flags(parser)
    return parser


def _actions() -> dict[str, argparse.Action]:
    """Field name -> its flag."""
    found = {}
    for action in _parser()._actions:
        long = next(name for name in action.option_strings if name.startswith("--"))
        found[long.removeprefix("--").replace("-", "_")] = action
    return found


def _meaning(action: argparse.Action) -> str:
    text = (action.help or "").replace("%%", "%").rpartition(" (default: ")[0]
    return text[:1].upper() + text[1:]


def _field(name: str, kind: Any, neutral: Any, meaning: str) -> SamplerField:
    group = next(group for group, pattern in GROUPS if re.search(pattern, name))
    parts = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    plain = [part for part in parts if part is not type(None)]
    is_optional = len(plain) < len(parts)
    about: dict[str, Any] = {"name": name, "meaning": meaning, "group": group, "neutral": neutral}
    if plain == [bool]:
        return SamplerField(**about, control=Control.SWITCH)
    if get_origin(plain[0]) is Literal:
        return SamplerField(**about, control=Control.CHOICE, choices=get_args(plain[0]))
    if plain[0] in (int, float) and name not in _BEYOND_DOUBLES:
        return _number(about, plain[0] is int, is_optional)
    if any(get_origin(part) is Mapping for part in plain):
        return SamplerField(**about, control=Control.JSON)
    if (str in plain or Sequence[str] in plain) and name not in COMMA_LISTS:
        return SamplerField(**about, control=Control.LINES)
    neutral = None if name in COMMA_LISTS else neutral
    return SamplerField(**about | {"neutral": neutral}, control=Control.LINE)


def _number(about: dict[str, Any], is_whole: bool, is_optional: bool) -> SamplerField:
    """A slider for a share or a factor; whole numbers and values that may be absent are typed."""
    slider = SLIDERS.get(about["name"])
    if is_whole or is_optional or slider is None:
        return SamplerField(**about, control=Control.NUMBER, is_whole=is_whole, is_optional=is_optional)
    return SamplerField(**about, control=Control.SLIDER, low=slider.low, high=slider.high, step=slider.step)
