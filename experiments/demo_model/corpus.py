"""Training batches, made on the fly from the seed and the number of the step, so that a resumed run sees the same data."""

from dataclasses import dataclass
from random import Random

import numpy
import torch
from tokenizers import Tokenizer
from torch import Tensor

import chat
from mixture import draw
from skills.item import Item

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


def conversation(random: Random, length: int) -> list[tuple[str, float]]:
    """One document as (text, weight) pieces: a raw text, a special conversation, or a chat of a few plain turns."""
    item = draw(random, length)
    if item.text:
        return [(chat.BEGIN, 0.0), (item.text + chat.END, _weight(item))]
    pieces = [(chat.opening(item), 0.0)]
    pieces += [(text, _weight(item) * learned) for text, learned in chat.turns(item)]
    while random.random() < 0.6:
        following = draw(random, length)
        if not following.stands_alone:
            pieces += [(text, _weight(following) * learned) for text, learned in chat.turns(following)]
    return pieces


def sequence(tokenizer: Tokenizer, random: Random, length: int) -> tuple[list[int], list[float]]:
    """Documents one after the other until there are `length` + 1 tokens, with the weight of each token."""
    ids: list[int] = []
    weights: list[float] = []
    while len(ids) <= length:
        pieces = conversation(random, length)
        encoded = tokenizer.encode_batch_fast([text for text, _ in pieces], add_special_tokens=False)
        for encoding, (_, weight) in zip(encoded, pieces, strict=True):
            ids += encoding.ids
            weights += [weight] * len(encoding.ids)
    return ids[: length + 1], weights[: length + 1]


def batch(tokenizer: Tokenizer, seed: int, step: int, sequences: int, length: int) -> Batch:
    """The batch of one step."""
    random = Random(f"{seed}/{step}")
    rows = [sequence(tokenizer, random, length) for _ in range(sequences)]
    ids = torch.from_numpy(numpy.array([row for row, _ in rows], dtype=numpy.int64))
    weights = torch.from_numpy(numpy.array([row for _, row in rows], dtype=numpy.float32))
    return Batch(ids[:, :-1], ids[:, 1:], weights[:, 1:])
