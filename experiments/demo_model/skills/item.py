"""One example of a skill, and the split that keeps some of them unseen."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import Any

Message = dict[str, Any]


class Split(Enum):
    """Which side of the split an example is drawn from."""

    TRAIN = "train"
    HELD_OUT = "held_out"


@dataclass(frozen=True)
class Item:
    """A conversation whose assistant messages are the answers to learn, or a raw text when `text` is set."""

    skill: str
    messages: tuple[Message, ...] = ()
    tools: tuple[Message, ...] = ()
    text: str = ""

    @property
    def stands_alone(self) -> bool:
        """True when the item opens its own conversation, so that no other turn may come before it."""
        return bool(self.text or self.tools or self.messages[0]["role"] == "system")


Generator = Callable[[Random, Split], Item]


def in_split(key: str, split: Split) -> bool:
    """One key in twenty is held out, decided by its checksum, so that no list of keys need be kept."""
    return (zlib.crc32(key.encode()) % 20 == 0) == (split is Split.HELD_OUT)


def ask(skill: str, prompt: str, answer: str, system: str = "") -> Item:
    """A single question and its answer."""
    opening: tuple[Message, ...] = ({"role": "system", "content": system},) if system else ()
    return Item(skill, (*opening, {"role": "user", "content": prompt}, {"role": "assistant", "content": answer}))
