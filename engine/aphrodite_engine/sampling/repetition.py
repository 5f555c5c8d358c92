"""Steps that look at what the sequence has said. Logits (R, V) float32 to logits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from aphrodite_engine.sampling.history import TokenHistory
from aphrodite_engine.sampling.row import SamplerRow
from aphrodite_engine.sampling.suffixes import SuffixMatches
from aphrodite_engine.sampling.truncation import column

Rows = Sequence[SamplerRow]

#: DRY grows without bound; beyond it a float32 would be infinite, and a token that is alone could not be drawn.
_LARGEST_PENALTY = 1e30


def penalties(logits: torch.Tensor, rows: Rows) -> torch.Tensor:
    """Repetition: l > 0 -> l / r, else l * r, for ids in prompt or output. Then l -= f * count + a * [count > 0]."""
    histories = [_history(row) for row in rows]
    seen = torch.stack([history.seen for history in histories])
    counts = torch.stack([history.counts for history in histories])
    repetition = column(logits, [row.params.repetition_penalty for row in rows])
    frequency = column(logits, [row.params.frequency_penalty for row in rows])
    presence = column(logits, [row.params.presence_penalty for row in rows])
    repeated = torch.where(logits > 0, logits / repetition, logits * repetition)
    logits = torch.where(seen, repeated, logits)
    return torch.where(counts > 0, logits - frequency * counts - presence, logits)


def no_repeat_ngram(logits: torch.Tensor, rows: Rows) -> torch.Tensor:
    """s = last n - 1 tokens of prompt and output: ban every token that followed an earlier s.

    Where that leaves nothing, those that tie for the most likely stay.
    """
    banned = torch.zeros_like(logits, dtype=torch.bool)
    for line, row in zip(banned, rows, strict=True):
        matches = _suffixes(row)
        again = np.flatnonzero(matches.lengths >= row.params.no_repeat_ngram_size - 1)
        line[torch.from_numpy(matches.token_ids[again + 1])] = True
        if row.params.no_repeat_ngram_size == 1:  # every token followed an earlier nothing, the first one too
            line[int(matches.token_ids[0])] = True
    result = logits.masked_fill(banned, float("-inf"))
    nothing_left = (result == float("-inf")).all(dim=1, keepdim=True)
    best = logits == logits.amax(dim=1, keepdim=True)
    return torch.where(nothing_left & best, logits, result)


def dry(logits: torch.Tensor, rows: Rows) -> torch.Tensor:
    """Don't repeat yourself: l -= m * b^(k - A) for a token that would go on with a repetition of k >= A tokens.

    h = the last `dry_range` tokens. For every earlier i with h[i] = last token, k = length of the longest common end of
    h[..i] and h that crosses no breaker; token h[i + 1] has the greatest of its k. (text-generation-webui, 5677.)
    """
    result = logits.clone()
    for line, row in zip(result, rows, strict=True):
        ids, lengths = _repeated(row)
        if len(ids):
            params = row.params
            # float64 may overflow to infinity here, which the limit takes back.
            with np.errstate(over="ignore"):
                penalty = params.dry_multiplier * np.power(params.dry_base, (lengths - params.dry_allowed_length) * 1.0)
            limited = torch.from_numpy(np.minimum(penalty, _LARGEST_PENALTY).astype(np.float32))
            line[torch.from_numpy(ids)] -= limited.to(line.device)
    return result


def _repeated(row: SamplerRow) -> tuple[np.ndarray, np.ndarray]:
    """Tokens that would go on with a repetition of at least dry_allowed_length, each once, and its length."""
    matches, params = _suffixes(row), row.params
    start = max(0, len(matches.token_ids) - params.dry_range) if params.dry_range else 0
    places = np.arange(start, len(matches.lengths))
    lengths = np.minimum(matches.lengths[start:], places - start + 1)
    if (lengths >= params.dry_allowed_length).any():
        lengths = np.minimum(lengths, _since_breaker(row, matches.token_ids[start:]))
    long = lengths >= params.dry_allowed_length
    order = np.argsort(lengths[long], kind="stable")
    ids, lengths = matches.token_ids[places[long] + 1][order], lengths[long][order]
    longest = dict(zip(ids.tolist(), lengths.tolist(), strict=True))  # of equal ids the last, the longest, stays
    return np.array(list(longest), dtype=np.int64), np.array(list(longest.values()), dtype=np.int64)


def _since_breaker(row: SamplerRow, ids: np.ndarray) -> int:
    """How many of the last tokens are no breakers."""
    if row.breakers is None:
        return len(ids)
    breaking = np.flatnonzero(row.breakers[ids])
    return len(ids) - 1 - int(breaking[-1]) if len(breaking) else len(ids)


def _history(row: SamplerRow) -> TokenHistory:
    assert row.history is not None, "the engine keeps a history for rows with penalties"
    return row.history


def _suffixes(row: SamplerRow) -> SuffixMatches:
    assert row.suffixes is not None, "the engine keeps suffixes for rows with dry or no_repeat_ngram"
    return row.suffixes
