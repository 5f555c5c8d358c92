"""What is generated: the same requests for every contestant, drawn from fixed seeds."""

from __future__ import annotations

import random
from dataclasses import dataclass

#: On the CPU the offline workload is its first 32 prompts, prompt and output cut to 128 tokens.
CPU_PROMPTS = 32
CPU_LENGTH = 128


@dataclass(frozen=True)
class Job:
    """One request. End-of-sequence ids are ignored: `max_tokens` come back."""

    prompt: tuple[int, ...]
    max_tokens: int
    temperature: float = 0.6
    top_p: float = 1.0
    seed: int = 0


def offline() -> list[Job]:
    """256 prompts of 100 to 1,024 ids below 10,000, outputs of 100 to 1,024: 142,827 and 133,966 tokens."""
    draw = random.Random(0)
    prompts = [tuple(draw.randint(0, 10_000) for _ in range(draw.randint(100, 1024))) for _ in range(256)]
    return [Job(prompt, draw.randint(100, 1024), seed=number) for number, prompt in enumerate(prompts)]


def offline_on_cpu(count: int = CPU_PROMPTS, length: int = CPU_LENGTH) -> list[Job]:
    """The first `count` jobs of `offline`, cut to `length`."""
    jobs = offline()[:count]
    return [Job(job.prompt[:length], min(job.max_tokens, length), seed=job.seed) for job in jobs]


def latency(tokens: int = 128) -> Job:
    """One prompt of 128 ids, 128 new ones."""
    return Job(_prompt(128), tokens)


def sweep(temperatures: int = 8, top_ps: int = 5, seeds: int = 4, prompt: int = 1024, tokens: int = 64) -> list[Job]:
    """One prompt at every combination of sampling settings: 160 requests."""
    ids = _prompt(prompt)
    return [
        Job(ids, tokens, temperature=0.2 * (t + 1), top_p=1.0 - 0.1 * p, seed=seed)
        for t in range(temperatures)
        for p in range(top_ps)
        for seed in range(seeds)
    ]


def greedy(prompt: int = 24, tokens: int = 24) -> list[Job]:
    """What the gate asks of every contestant before anything is timed."""
    draw = random.Random(1)
    prompts = [tuple(draw.randint(0, 9_999) for _ in range(prompt - 5 * row)) for row in range(3)]
    return [Job(ids, tokens, temperature=0.0) for ids in prompts]


def shortened(jobs: list[Job], tokens: int) -> list[Job]:
    """The same prompts with fewer new tokens: a warm-up that touches every size but not for as long."""
    return [Job(job.prompt, tokens, job.temperature, job.top_p, job.seed) for job in jobs]


def _prompt(length: int) -> tuple[int, ...]:
    draw = random.Random(0)
    return tuple(draw.randint(0, 9_999) for _ in range(length))
