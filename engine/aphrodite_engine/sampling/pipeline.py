"""One step of sampling: rows that run the same list of steps go through it together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from aphrodite_engine.params import SamplingParams
from aphrodite_engine.sampling.constraints import constrain, is_constrained
from aphrodite_engine.sampling.logprobs import TopLogprobs, top_logprobs
from aphrodite_engine.sampling.row import SamplerRow
from aphrodite_engine.sampling.steps import STEPS
from aphrodite_kernels.sample import NOTHING, argmax, gumbel_argmax

#: Purpose keys of random draws: two draws at one position of one sequence never share numbers.
PURPOSE_TOKEN = 0


@dataclass(frozen=True)
class Drawn:
    """A row's next token, or NOTHING where none was possible; `logprobs` when the request asked for them."""

    token_id: int
    logprobs: TopLogprobs | None


@dataclass(frozen=True)
class Plan:
    """What a row runs, in order; rows of equal plans are processed as one."""

    steps: tuple[str, ...]
    greedy: bool


def plan_of(params: SamplingParams) -> Plan:
    """The steps that are on, in the request's order. Greedy rows skip what cannot change which logit is largest."""
    greedy = params.temperature == 0
    on = [name for name in params.sampler_order or () if STEPS[name].is_on(params)]
    if greedy:
        on = [name for name in on if name == "penalties"]
    return Plan(tuple(on), greedy)


def sample(logits: torch.Tensor, rows: Sequence[SamplerRow]) -> list[Drawn]:
    """Draw one token a row from logits (R, V) float32. A row's result depends on that row alone."""
    raw = _keep_raw(logits, rows)
    constrained = [r for r, row in enumerate(rows) if is_constrained(row)]
    if constrained:
        part = logits[constrained]
        constrain(part, [rows[r] for r in constrained])
        logits = logits.clone() if raw is logits else logits
        logits[constrained] = part
    drawn: list[Drawn | None] = [None] * len(rows)
    groups: defaultdict[Plan, list[int]] = defaultdict(list)
    for r, row in enumerate(rows):
        groups[plan_of(row.params)].append(r)
    for plan, members in groups.items():
        whole = len(members) == len(rows)
        part = logits if whole else logits[members]
        part_raw = raw if whole or raw is None else raw[members]
        for r, token in zip(members, _draw(part, part_raw, plan, [rows[r] for r in members]), strict=True):
            drawn[r] = token
    return [token for token in drawn if token is not None]


def _draw(logits: torch.Tensor, raw: torch.Tensor | None, plan: Plan, rows: list[SamplerRow]) -> list[Drawn]:
    for name in plan.steps:
        logits = STEPS[name].apply(logits, rows)
    if plan.greedy:
        tokens = argmax(logits)
    else:
        seeds, sequences, positions = (
            torch.tensor(values, dtype=torch.int64, device=logits.device)
            for values in (
                [row.seed for row in rows],
                [row.sequence_index for row in rows],
                [row.position for row in rows],
            )
        )
        tokens = gumbel_argmax(logits, seeds, sequences, positions, PURPOSE_TOKEN)
    token_ids = tokens.tolist()
    reported = _report(logits, raw, plan, rows, token_ids)
    return [Drawn(token_id, reported.get(r)) for r, token_id in enumerate(token_ids)]


def _report(
    logits: torch.Tensor, raw: torch.Tensor | None, plan: Plan, rows: list[SamplerRow], token_ids: list[int]
) -> dict[int, TopLogprobs]:
    result: dict[int, TopLogprobs] = {}
    for mode, source in (("raw", raw), ("processed", logits)):
        asked = [row.params.logprobs is not None and row.params.logprobs_mode == mode for row in rows]
        wanted = [r for r, is_asked in enumerate(asked) if is_asked and token_ids[r] != NOTHING]
        if not wanted or source is None:
            continue
        ids = [token_ids[r] for r in wanted]
        part = source[wanted]
        if mode == "processed" and plan.greedy:
            part = _point_mass(part, ids)
        counts = [rows[r].params.logprobs or 0 for r in wanted]
        result.update(zip(wanted, top_logprobs(part, ids, counts), strict=True))
    return result


def _point_mass(logits: torch.Tensor, token_ids: list[int]) -> torch.Tensor:
    """What a greedy row was drawn from: all mass on one token."""
    point = torch.full_like(logits, float("-inf"))
    point.scatter_(1, torch.tensor(token_ids, device=logits.device)[:, None], 0.0)
    return point


def _keep_raw(logits: torch.Tensor, rows: Sequence[SamplerRow]) -> torch.Tensor | None:
    raw_wanted = any(row.params.logprobs is not None and row.params.logprobs_mode == "raw" for row in rows)
    return logits if raw_wanted else None
