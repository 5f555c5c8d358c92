"""Checks that the fields of SamplingParams share: each error names the field, the value and what is allowed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aphrodite_engine.errors import ParameterError


@dataclass(frozen=True)
class Range:
    """What a number may be.

    Attributes:
        low, high: both included, `low` not where `above`.
        whole: integers only.
        or_none: None is allowed too.
    """

    low: float
    high: float
    above: bool = False
    whole: bool = False
    or_none: bool = False

    def check(self, name: str, value: object) -> None:
        """
        Raises:
            ParameterError: not such a number. A bool is none, although Python counts it among the integers.
        """
        if value is None and self.or_none:
            return
        kinds = int if self.whole else (int, float)
        # NaN fails every comparison, so the bounds refuse it together with the infinities.
        good = isinstance(value, kinds) and not isinstance(value, bool) and self.low <= value <= self.high
        if not good or (self.above and value == self.low):
            raise ParameterError(name, value, str(self))

    def __str__(self) -> str:
        if self.whole:
            return f"an integer from {self.low} to {self.high}"
        return f"a finite number {'above' if self.above else 'from'} {self.low:g} up to {self.high:g}"


def check_boolean(name: str, value: object) -> None:
    """True or False, nothing that merely looks like it."""
    if not isinstance(value, bool):
        raise ParameterError(name, value, "True or False")


def checked_ids(name: str, value: object) -> tuple[int, ...]:
    """Token ids of 0 or more."""
    if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
        raise ParameterError(name, value, "a list of token ids")
    for item in value:
        if isinstance(item, bool) or not isinstance(item, int) or item < 0:
            raise ParameterError(name, item, "token ids are integers of 0 or more")
    return tuple(value)


def checked_allowed_ids(value: Sequence[int] | None) -> tuple[int, ...] | None:
    """Sorted, each once; None is "all"."""
    if value is None:
        return None
    ids = checked_ids("allowed_token_ids", value)
    if not ids:
        raise ParameterError("allowed_token_ids", value, "at least one token id (None is 'all')")
    return tuple(sorted(set(ids)))


def checked_logit_bias(value: Mapping[int, float] | None) -> dict[int, float] | None:
    """Sorted by id."""
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise ParameterError("logit_bias", value, "a mapping from token id to a number from -100 to 100")
    for token_id, bias in value.items():
        checked_ids("logit_bias", [token_id])
        Range(-100, 100).check(f"logit_bias[{token_id}]", bias)
    return {token_id: float(value[token_id]) for token_id in sorted(value)} or None


def checked_strings(name: str, value: object, most: int, noun: str, longest: int | None = None) -> tuple[str, ...]:
    """Non-empty strings, of at most `longest` characters; one alone stands for a list of one, None for none."""
    if value is None:
        return ()
    strings = (value,) if isinstance(value, str) else value
    if not isinstance(strings, Sequence) or isinstance(strings, bytes) or len(strings) > most:
        raise ParameterError(name, value, f"a string or a list of at most {most} strings")
    for string in strings:
        if not isinstance(string, str) or not string:
            raise ParameterError(name, string, f"{noun} are non-empty strings")
        if longest is not None and len(string) > longest:
            raise ParameterError(name, string, f"{noun} of up to {longest} characters, not {len(string):,}")
    return tuple(strings)
