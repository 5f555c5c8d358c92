"""`--limit requests-per-minute=60,concurrent=4`: what a key may ask for."""

from __future__ import annotations

import argparse

import msgspec

from aphrodite.service.access.limits import MAX_LIMIT, Limits
from aphrodite.service.access.user import KEY_PRIORITY
from aphrodite_apps.cli.command import UsageError, nearest

_FIELDS = {field.replace("_", "-"): field for field in Limits.__struct_fields__}


def add_limit_flags(parser: argparse.ArgumentParser) -> None:
    """--limit, --priority, --admin."""
    parser.add_argument(
        "--limit", action="append", default=[], metavar="LIMITS",
        help=f"{', '.join(_FIELDS)}: name=number, several with commas (default: none)",
    )  # fmt: skip
    parser.add_argument("--priority", type=int, default=KEY_PRIORITY, metavar="N",
                        help=f"lower runs first; your own requests have 0 (default: {KEY_PRIORITY})")  # fmt: skip
    parser.add_argument("--admin", action="store_true", help="may also load models, make keys, take leases")


def limits(arguments: argparse.Namespace) -> Limits:
    """The limits of --limit.

    Raises:
        UsageError: a limit nobody knows, or not a number.
    """
    parts = [part.strip() for text in arguments.limit for part in text.split(",")]
    return Limits(**dict(_limit(part) for part in parts))


def _limit(part: str) -> tuple[str, int]:
    name, _, number = part.partition("=")
    name = name.strip().replace("_", "-")
    if name not in _FIELDS:
        raise UsageError(f"--limit {part!r}: no such limit{nearest(name, list(_FIELDS))} ({', '.join(_FIELDS)})")
    if not number.strip().isdecimal() or not 1 <= int(number) <= MAX_LIMIT:
        raise UsageError(f"--limit {part!r}: {name} must be a number from 1 to {MAX_LIMIT}")
    return _FIELDS[name], int(number)


def described(limits: Limits) -> str:
    """'60 requests/min, 4 at once'."""
    words = {
        "requests_per_minute": "{:,} requests/min",
        "tokens_per_minute": "{:,} tokens/min",
        "concurrent": "{:,} at once",
    }
    given = {name: value for name, value in msgspec.structs.asdict(limits).items() if value is not None}
    return ", ".join(words[name].format(value) for name, value in given.items()) or "no limits"
