"""One step of sampling: rows that run the same list of steps go through it together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from aphrodite_engine.params import SamplingParams
from aphrodite_engine.sampling.constraints import constrain, is_constrained
from aphrodite_engine.sampling.feedback import FEEDBACK, Memory, feedback_of
from aphrodite_engine.sampling.fused import draw_fused, is_fused
from aphrodite_engine.sampling.logprobs import TopLogprobs, own_logprobs, top_logprobs
from aphrodite_engine.sampling.row import SamplerRow
from aphrodite_engine.sampling.row_sums import softmax
from aphrodite_engine.sampling.steps import PURPOSE_TOKEN, is_greedy, purpose_of, run_steps, steps_of
from aphrodite_engine.sampling.trace import Stage, trace
from aphrodite_engine.sampling.truncation import streams
from aphrodite_kernels.sample import NOTHING, argmax, gumbel_argmax


@dataclass(frozen=True)
class Drawn:
    """A row's next token, or NOTHING where none was possible.

    Attributes:
        logprobs: when the request asked for them.
        feedback: what the row shall remember, see `aphrodite_engine.sampling.feedback`.
        trace: when the request asked for it.
    """

    token_id: int
    logprobs: TopLogprobs | None
    feedback: Memory | None = None
    trace: tuple[Stage, ...] | None = None


@dataclass(frozen=True)
class Plan:
    """What a row runs, in order; rows of equal plans are processed as one."""

    steps: tuple[str, ...]
    feedback: str | None
    greedy: bool


def plan_of(params: SamplingParams) -> Plan:
    """The steps that are on, in the request's order."""
    return Plan(steps_of(params), feedback_of(params), is_greedy(params))


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
    groups: defaultdict[tuple[Plan, int] | None, list[int]] = defaultdict(list)
    for r, row in enumerate(rows):
        only_token = is_fused(row, logits.device) and not _needs_raw(row.params)
        groups[None if only_token else (plan_of(row.params), row.attempt)].append(r)
    for kind, members in groups.items():
        whole = len(members) == len(rows)
        part = logits if whole else logits[members]
        part_raw = raw if whole or raw is None else raw[members]
        plan = None if kind is None else kind[0]
        for r, token in zip(members, _draw(part, part_raw, plan, [rows[r] for r in members]), strict=True):
            drawn[r] = token
    return [token for token in drawn if token is not None]


def _draw(logits: torch.Tensor, raw: torch.Tensor | None, plan: Plan | None, rows: list[SamplerRow]) -> list[Drawn]:
    if plan is None:
        return [Drawn(token_id, None) for token_id in draw_fused(logits, rows).tolist()]
    fused = draw_fused(logits, rows) if is_fused(rows[0], logits.device) else None  # rows of one plan are alike in this
    for _, _, after in run_steps(plan.steps, logits, rows):
        logits = after
    found = softmax(logits) if plan.feedback else None
    if plan.feedback and found is not None:
        logits = FEEDBACK[plan.feedback].apply(found, rows)
    if fused is not None:
        tokens = fused
    elif plan.greedy:
        tokens = argmax(logits)
    else:
        tokens = gumbel_argmax(logits, *streams(logits.device, rows), purpose_of(PURPOSE_TOKEN, rows))
    token_ids = [drawn if row.forced is None else row.forced for drawn, row in zip(tokens.tolist(), rows, strict=True)]
    reported = _report(logits, raw, plan, rows, token_ids)
    learned = _learn(plan, rows, found, token_ids)
    traced = _trace(raw, rows, token_ids)
    return [Drawn(token_id, reported.get(r), learned.get(r), traced.get(r)) for r, token_id in enumerate(token_ids)]


def _trace(raw: torch.Tensor | None, rows: list[SamplerRow], token_ids: list[int]) -> dict[int, tuple[Stage, ...]]:
    return {
        r: trace(raw[r : r + 1], row, token_ids[r], row.params.trace)
        for r, row in enumerate(rows)
        if raw is not None and row.params.trace is not None and _is_drawn(row, token_ids[r])
    }


def _learn(plan: Plan, rows: list[SamplerRow], found: torch.Tensor | None, token_ids: list[int]) -> dict[int, Memory]:
    if plan.feedback is None or found is None:
        return {}
    learn = FEEDBACK[plan.feedback].learn
    return {
        r: learn(row, float(found[r, token_id]))
        for r, (row, token_id) in enumerate(zip(rows, token_ids, strict=True))
        if token_id != NOTHING
    }


def _is_drawn(row: SamplerRow, token_id: int) -> bool:
    return row.forced is None and token_id != NOTHING


def _report(
    logits: torch.Tensor, raw: torch.Tensor | None, plan: Plan, rows: list[SamplerRow], token_ids: list[int]
) -> dict[int, TopLogprobs]:
    wanted = [r for r, row in enumerate(rows) if row.params.logprobs is not None and _is_drawn(row, token_ids[r])]
    if not wanted or raw is None:
        return {}
    ids, processed = [token_ids[r] for r in wanted], logits[wanted]
    if plan.greedy:
        processed = _point_mass(processed, ids)
    seen = {"raw": raw[wanted], "processed": processed}
    own = {mode: own_logprobs(source, ids) for mode, source in seen.items()}
    result: dict[int, TopLogprobs] = {}
    for mode, source in seen.items():
        asked = [place for place, r in enumerate(wanted) if rows[r].params.logprobs_mode == mode]
        counts = [rows[wanted[place]].params.logprobs or 0 for place in asked]
        found = top_logprobs(source[asked], [ids[place] for place in asked], counts) if asked else []
        for place, top in zip(asked, found, strict=True):
            result[wanted[place]] = replace(top, raw=own["raw"][place], processed=own["processed"][place])
    return result


def _point_mass(logits: torch.Tensor, token_ids: list[int]) -> torch.Tensor:
    """What a greedy row was drawn from: all mass on one token."""
    point = torch.full_like(logits, float("-inf"))
    point.scatter_(1, torch.tensor(token_ids, device=logits.device)[:, None], 0.0)
    return point


def _keep_raw(logits: torch.Tensor, rows: Sequence[SamplerRow]) -> torch.Tensor | None:
    return logits if any(_needs_raw(row.params) for row in rows) else None


def _needs_raw(params: SamplingParams) -> bool:
    return params.trace is not None or params.logprobs is not None
