"""`--limit requests-per-minute=60,concurrent=4`: what a key may ask for, in the shell and in notebooks."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

import msgspec

from aphrodite.argument_parser import nearest
from aphrodite.service.access.limits import MAX_LIMIT, Limits
from aphrodite.service.access.user import KEY_PRIORITY

_FIELDS = {field.replace("_", "-"): field for field in Limits.__struct_fields__}
_WORDS = {
    "requests_per_minute": "{:,} requests/min",
    "tokens_per_minute": "{:,} tokens/min",
    "concurrent": "{:,} at once",
}


def add_limit_flags(parser: argparse.ArgumentParser) -> None:
    """--limit, --priority, --admin."""
    parser.add_argument(
        "--limit", action="append", default=[], metavar="LIMITS", type=_limits,
        help=f"{', '.join(_FIELDS)}: name=number, several with commas (default: none)",
    )  # fmt: skip
    parser.add_argument("--priority", type=int, default=KEY_PRIORITY, metavar="N",
                        help=f"lower runs first; your own requests have 0 (default: {KEY_PRIORITY})")  # fmt: skip
    parser.add_argument("--admin", action="store_true", help="may also load models, make keys, take leases")


def limits(arguments: argparse.Namespace) -> Limits:
    """The limits of all --limit together."""
    return Limits(**{name: number for given in arguments.limit for name, number in given.items()})


def described(limits: Limits | Mapping[str, Any]) -> str:
    """'60 requests/min, 4 at once'."""
    fields = msgspec.structs.asdict(limits) if isinstance(limits, Limits) else limits
    given = {name: value for name, value in fields.items() if value is not None}
    return ", ".join(_WORDS[name].format(value) for name, value in given.items()) or "no limits"


def _limits(text: str) -> dict[str, int]:
    return dict(_limit(part.strip()) for part in text.split(","))


def _limit(part: str) -> tuple[str, int]:
    name, _, number = part.partition("=")
    name = name.strip().replace("_", "-")
    if name not in _FIELDS:
        known = ", ".join(_FIELDS)
        raise argparse.ArgumentTypeError(f"{part!r}: no such limit{nearest(name, list(_FIELDS))} ({known})")
    if not number.strip().isdecimal() or not 1 <= int(number) <= MAX_LIMIT:
        raise argparse.ArgumentTypeError(f"{part!r}: {name} must be a number from 1 to {MAX_LIMIT}")
    return _FIELDS[name], int(number)
