"""Greedy generation in batches, in plain torch: prompts of one length class share a batch, padded on the left."""

import chat
import torch
from model import Llama
from tokenizers import Tokenizer
from torch import Tensor

_BATCH_TOKENS = 16_384


def _mask(starts: Tensor, queries: int, keys: int) -> Tensor:
    """What a query may see: nothing of the padding, nothing of its future; a padded query sees itself."""
    key = torch.arange(keys)
    query = torch.arange(keys - queries, keys)[:, None]
    allowed = (key <= query) & (key >= starts[:, None, None]) | (key == query)
    return allowed.unsqueeze(1)


@torch.inference_mode()
def _complete_batch(model: Llama, rows: list[list[int]], stops: set[int], limit: int) -> list[list[int]]:
    width = max(len(row) for row in rows)
    starts = torch.tensor([width - len(row) for row in rows])
    tokens = torch.tensor([[0] * (width - len(row)) + row for row in rows])
    caches: list[list[Tensor]] = [[] for _ in model.layers]
    positions = (torch.arange(width) - starts[:, None]).clamp(min=0)
    answers: list[list[int]] = [[] for _ in rows]
    running = set(range(len(rows)))
    for count in range(limit):
        hidden = model(tokens, caches, positions, _mask(starts, tokens.shape[1], width + count))
        tokens = model.logits(hidden[:, -1]).argmax(dim=-1, keepdim=True)
        positions = positions[:, -1:] + 1
        for row in list(running):
            if int(tokens[row]) in stops:
                running.discard(row)
            else:
                answers[row].append(int(tokens[row]))
        if not running or int(positions.max()) >= model.shape.max_position_embeddings:
            break
    return answers


def complete(model: Llama, tokenizer: Tokenizer, prompts: list[str], limit: int) -> list[str]:
    """The greedy continuation of each prompt (special tokens written out), up to `limit` tokens."""
    rows = [tokenizer.encode(prompt, add_special_tokens=False).ids for prompt in prompts]
    stops = set(chat.stops(tokenizer))
    order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
    answers = [""] * len(rows)
    while order:
        batch = [order.pop()]
        while order and (len(batch) + 1) * (len(rows[batch[0]]) + limit) <= _BATCH_TOKENS:
            batch.append(order.pop())
        done = _complete_batch(model, [rows[index] for index in batch], stops, limit)
        for index, ids in zip(batch, done, strict=True):
            answers[index] = tokenizer.decode(ids, skip_special_tokens=False)
    return answers
