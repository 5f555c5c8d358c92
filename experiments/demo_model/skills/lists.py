"""Copying, reversing and sorting short lists of numbers, letters and words."""

from random import Random
from string import ascii_lowercase, ascii_uppercase

from .item import Item, Split, ask, in_split
from .words import ANIMALS, FRUITS, NAMES, PLAIN, made_up_word

_COPY = (
    "Copy: {x}",
    "Repeat: {x}",
    "Copy this list: {x}",
    "Repeat this list: {x}",
    "Write this list again: {x}",
    "Say this again: {x}",
    "Repeat after me: {x}",
    "Copy the list {x}.",
    "Please copy: {x}",
    "Echo: {x}",
)
_SORT = (
    "Sort: {x}",
    "Sort this list: {x}",
    "Sort these: {x}",
    "Put in order: {x}",
    "Sort {x}.",
    "Put these in order: {x}",
    "Please sort: {x}",
    "Sort the list {x}.",
    "Order this list: {x}",
    "Sort in ascending order: {x}",
)
_REVERSE = ("Reverse: {x}", "Reverse this list: {x}", "Write this list backwards: {x}", "Reverse the list {x}.")
SORT_WORDS = sorted({*ANIMALS, *FRUITS})


def _entries(random: Random, count: int, kinds: str) -> list[str]:
    kind = random.choice(kinds)
    if kind == "n":
        limit = random.choice((9, 99, 99))
        return [str(random.randint(0, limit)) for _ in range(count)]
    if kind == "l":
        return random.sample(random.choice((ascii_lowercase, ascii_uppercase)), count)
    if kind == "w":
        return random.sample(SORT_WORDS, count)
    if kind == "p":
        return random.sample(random.choice((PLAIN, NAMES)), count)
    return [made_up_word(random) for _ in range(count)]


def _draw(random: Random, split: Split, count: int, kinds: str) -> list[str]:
    while True:
        entries = _entries(random, count, kinds)
        if in_split(",".join(entries), split):
            return entries


def _task(skill: str, prompts: tuple[str, ...], random: Random, before: list[str], after: list[str]) -> Item:
    separator = random.choice((", ", ", ", " "))
    return ask(skill, random.choice(prompts).format(x=separator.join(before)), separator.join(after))


def copying(random: Random, split: Split) -> Item:
    """A list of three to eight entries to be said again."""
    entries = _draw(random, split, random.randint(3, 8), "nlpm")
    return _task("copy", _COPY, random, entries, entries)


def _any_entry(random: Random) -> str:
    kind = random.randrange(5)
    if kind == 0:
        return str(random.randint(0, 999))
    if kind == 1:
        return random.choice(ascii_lowercase + ascii_uppercase)
    return random.choice(PLAIN) if kind == 2 else random.choice(NAMES) if kind == 3 else made_up_word(random)


def echoing(random: Random, split: Split) -> Item:
    """A long list of anything to be said again: nearly every token of the answer asks for the same move, to find what
    was just said and to go on as it went on there."""
    while True:
        entries = [_any_entry(random) for _ in range(random.randint(8, 40))]
        if in_split(",".join(entries), split):
            return _task("copy", _COPY, random, entries, entries)


def sorting(random: Random, split: Split) -> Item:
    """A list of three to six entries to be put in order: numbers by value, letters and words by the alphabet."""
    entries = _draw(random, split, random.randint(3, 6), "nnlw")
    after = sorted(entries, key=lambda entry: (int(entry) if entry.isdigit() else 0, entry))
    return _task("sort", _SORT, random, entries, after)


def reversing(random: Random, split: Split) -> Item:
    """A list of three to six entries to be said backwards."""
    entries = _draw(random, split, random.randint(3, 6), "nlp")
    return _task("reverse", _REVERSE, random, entries, entries[::-1])
