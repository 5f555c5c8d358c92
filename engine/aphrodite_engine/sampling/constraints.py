"""Hard constraints and biases: they come before the request's list of steps and are not part of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch

from aphrodite_engine.sampling.row import SamplerRow


def is_constrained(row: SamplerRow) -> bool:
    """Whether `constrain` would change this row."""
    params = row.params
    return bool(
        params.logit_bias
        or params.allowed_token_ids is not None
        or row.num_output < params.min_tokens
        or row.grammar is not None
        or _bad_endings(row)
        or row.taken_back
    )


def constrain(logits: torch.Tensor, rows: Sequence[SamplerRow]) -> None:
    """In place: make impossible what a grammar does not allow, add logit_bias, then make impossible what is not in the
    allowed ids, what would complete a bad word, before min_tokens what would end, and what was taken back here."""
    _follow_grammars(logits, rows)
    for line, row in zip(logits, rows, strict=True):
        if row.params.logit_bias:
            _add_bias(line, row.params.logit_bias)
        _obey(line, row)
        if row.taken_back:
            line[_ids(row.taken_back, line)] = float("-inf")


def _obey(line: torch.Tensor, row: SamplerRow) -> None:
    if row.params.allowed_token_ids is None and not _must_go_on(row) and not _bad_endings(row):
        return
    followed = line.clone() if row.grammar is not None else None
    _limit(line, row)
    if followed is not None and not bool((line > float("-inf")).any()):
        # Where a grammar can only end, it may, whatever else is asked for.
        what_ends = _ids(row.banned_until_min, line)
        line[what_ends] = followed[what_ends]


def _must_go_on(row: SamplerRow) -> bool:
    """EOS is impossible now. Without a grammar an ignored EOS is a token like any other; with one it is an end."""
    return row.num_output < row.params.min_tokens or (row.grammar is not None and row.params.ignore_eos)


def _add_bias(line: torch.Tensor, bias: Mapping[int, float]) -> None:
    line[_ids(bias, line)] += torch.tensor(list(bias.values()), dtype=torch.float32, device=line.device)


def _limit(line: torch.Tensor, row: SamplerRow) -> None:
    if row.params.allowed_token_ids is not None:
        allowed = _ids(row.params.allowed_token_ids, line)
        kept = line[allowed].clone()
        line.fill_(float("-inf"))
        line[allowed] = kept
    if _must_go_on(row) and row.banned_until_min:
        line[_ids(row.banned_until_min, line)] = float("-inf")
    if endings := _bad_endings(row):
        line[_ids(endings, line)] = float("-inf")


def _bad_endings(row: SamplerRow) -> list[int]:
    """Last tokens of the bad words of which all before has just come."""
    return [word[-1] for word in row.bad_words if _has_just_come(row, word[:-1])]


def _has_just_come(row: SamplerRow, beginning: tuple[int, ...]) -> bool:
    count = len(beginning)
    return count <= row.num_output and tuple(row.token_ids[len(row.token_ids) - count :]) == beginning


def _follow_grammars(logits: torch.Tensor, rows: Sequence[SamplerRow]) -> None:
    """The grammars' masks are bits, packed in 32-bit words; a row without a grammar keeps all of them set."""
    num_words = max((row.grammar.num_words for row in rows if row.grammar is not None), default=0)
    if not num_words:
        return
    packed = np.full((len(rows), num_words), -1, dtype=np.int32)
    for words, row in zip(packed, rows, strict=True):
        if row.grammar is not None:
            row.grammar.fill(words)
    bits = np.unpackbits(packed.view(np.uint8), axis=1, count=logits.shape[1], bitorder="little")
    impossible = torch.from_numpy(bits == 0).to(logits.device)
    logits.masked_fill_(impossible, float("-inf"))


def _ids(token_ids: Iterable[int], line: torch.Tensor) -> torch.Tensor:
    return torch.tensor(list(token_ids), dtype=torch.int64, device=line.device)
