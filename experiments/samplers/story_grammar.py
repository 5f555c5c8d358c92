"""How far a story is told right: sentence for sentence one that the training data could have held.

Every slot must keep its value from beginning to end: the same name, the same animal, always he or always she.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from experiments.demo_model.evaluate import stories

_PRONOUNS = ("he", "his", "him", "He", "His")
_SLOT = re.compile(r"\\\{(\w+)\\\}")


@dataclass(frozen=True)
class Told:
    """How far a story is right: sentences before the first wrong one, and whether it is right to the end."""

    sentences: int
    whole: bool


def told(story: str) -> Told:
    """The best that any plot makes of it."""
    return max((_told(story, plot, {}) for plot in stories.PLOTS), key=_order)


def _told(rest: str, sentences: Sequence[Sequence[str]], slots: Mapping[str, str]) -> Told:
    best = Told(0, whole=not sentences and not rest)
    for template in sentences[0] if sentences else ():
        match = _pattern(template).match(rest)
        if match and (kept := _merged(slots, match.groupdict())) is not None:
            behind = _told(rest[match.end() :], sentences[1:], kept)
            best = max(best, Told(1 + behind.sentences, behind.whole), key=_order)
    return best


def _order(told: Told) -> tuple[bool, int]:
    return told.whole, told.sentences


def _merged(slots: Mapping[str, str], found: Mapping[str, str]) -> dict[str, str] | None:
    """All slots; None where one has another value than before."""
    merged = dict(slots)
    for slot, value in found.items():
        key, said = _meaning(slot, value)
        if merged.setdefault(key, said) != said:
            return None
    return merged


def _meaning(slot: str, value: str) -> tuple[str, str]:
    """All pronouns say one thing; "her" is both his and him of a she."""
    if slot in _PRONOUNS:
        return "gender", "he" if value == stories.CHOICES[slot][0] else "she"
    return slot, value


@cache
def _pattern(template: str) -> re.Pattern[str]:
    """One sentence and the space behind it. A slot that comes twice must say the same twice."""
    seen: set[str] = set()

    def slot(match: re.Match[str]) -> str:
        name = match[1]
        if name in seen:
            return f"(?P={name})"
        seen.add(name)
        return f"(?P<{name}>{_choices(name)})"

    text = re.sub(r"\b([Aa])\\ (?=\\{)", r"\1n?\\ ", re.escape(template))
    return re.compile(_SLOT.sub(slot, text) + r"(?: |$)")


def _choices(slot: str) -> str:
    words = stories.CHOICES.get(slot)
    return "[A-Z][a-z]+" if words is None else "|".join(map(re.escape, words))
