"""Training batches, made on the fly from the seed and the step, so that a resumed run sees the same data."""

from dataclasses import dataclass
from random import Random

import chat
import numpy
import torch
from mixture import INDUCTION, Part, draw
from skills.item import Item
from tokenizers import Tokenizer
from torch import Tensor


@dataclass(frozen=True)
class Diet:
    """The length of the sequences, and the share of their tokens that goes to extra parts of the mixture."""

    length: int
    focus: float = 0.0
    extra: tuple[Part, ...] = INDUCTION


# A story is many tokens of which few are hard; at full weight it would drown the short answers.
_STORY_WEIGHT = 0.5


@dataclass(frozen=True)
class Batch:
    """Token ids, the ids to predict, and the weight of each prediction; all (sequences, length)."""

    tokens: Tensor
    targets: Tensor
    weights: Tensor


def _weight(item: Item) -> float:
    return _STORY_WEIGHT if item.skill.startswith("story") else 1.0


def conversation(random: Random, diet: Diet) -> list[tuple[str, float]]:
    """One document as (text, weight) pieces: a raw text, a special conversation, or a chat of a few plain turns."""
    item = draw(random, diet.length, diet.focus, diet.extra)
    if item.text:
        return [(chat.BEGIN, 0.0), (item.text + chat.END, _weight(item))]
    pieces = [(chat.opening(item), 0.0)]
    pieces += [(text, _weight(item) * learned) for text, learned in chat.turns(item)]
    while random.random() < 0.6:
        following = draw(random, diet.length, diet.focus, diet.extra)
        if not following.stands_alone:
            pieces += [(text, _weight(following) * learned) for text, learned in chat.turns(following)]
    return pieces


def sequence(tokenizer: Tokenizer, random: Random, diet: Diet) -> tuple[list[int], list[float]]:
    """Documents one after the other until there are one token more than the length, with the weight of each token."""
    ids: list[int] = []
    weights: list[float] = []
    while len(ids) <= diet.length:
        pieces = conversation(random, diet)
        encoded = tokenizer.encode_batch_fast([text for text, _ in pieces], add_special_tokens=False)
        for encoding, (_, weight) in zip(encoded, pieces, strict=True):
            ids += encoding.ids
            weights += [weight] * len(encoding.ids)
    return ids[: diet.length + 1], weights[: diet.length + 1]


def batch(tokenizer: Tokenizer, seed: int, step: int, sequences: int, diet: Diet) -> Batch:
    """The batch of one step."""
    random = Random(f"{seed}/{step}")
    rows = [sequence(tokenizer, random, diet) for _ in range(sequences)]
    ids = torch.from_numpy(numpy.array([row for row, _ in rows], dtype=numpy.int64))
    weights = torch.from_numpy(numpy.array([row for _, row in rows], dtype=numpy.float32))
    return Batch(ids[:, :-1], ids[:, 1:], weights[:, 1:])
