"""The contestants: our engine and transformers' three ways to generate, behind one method."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from workloads import Job

#: transformers pads prompts of a batch to the longest; this many at once.
PADDED_BATCH = 32


class Contestant(Protocol):
    """Generates the jobs' tokens. The first token's time of the last call is kept for the latency workload."""

    first_token_at: float

    def generate(self, jobs: Sequence[Job]) -> list[list[int]]:
        """New tokens of each job, `max_tokens` of them."""
        ...

    def close(self) -> None:
        """Give the memory back."""
        ...


class Ours:
    """`LLM` of this repository, all jobs submitted together."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        from aphrodite_engine.llm import LLM

        self.llm = LLM(folder, dtype="float32", device="cpu", seed=0, **settings)
        self.first_token_at = 0.0
        self._calls = 0

    def generate(self, jobs: Sequence[Job]) -> list[list[int]]:
        # A salt of its own for every call: no run is sped up by prefixes that an earlier one left in the cache.
        self._calls += 1
        results = self.llm.generate(
            [list(job.prompt) for job in jobs], [_params(job) for job in jobs], cache_salt=str(self._calls)
        )
        return [list(result.token_ids) for result in results]

    def stream(self, job: Job) -> list[int]:
        """One job, noting when its first token came."""
        self._calls += 1
        tokens: list[int] = []
        for event in self.llm.stream(list(job.prompt), _params(job), cache_salt=str(self._calls)):
            if not tokens:
                self.first_token_at = time.perf_counter()
            tokens += event.token_ids
        return tokens

    def close(self) -> None:
        self.llm.close()


class Padded:
    """transformers `generate`: padded batches, each run to its longest output; the surplus is cut off."""

    def __init__(self, model: Any, batch: int = PADDED_BATCH, **generation: Any) -> None:
        self._model, self._batch, self._generation = model, batch, generation
        self.first_token_at = 0.0

    def generate(self, jobs: Sequence[Job]) -> list[list[int]]:
        tokens: list[list[int]] = []
        for start in range(0, len(jobs), self._batch):
            tokens += self._generate_batch(jobs[start : start + self._batch])
        return tokens

    def close(self) -> None:
        del self._model

    @torch.inference_mode()
    def _generate_batch(self, jobs: Sequence[Job]) -> list[list[int]]:
        width = max(len(job.prompt) for job in jobs)
        ids = torch.tensor([[0] * (width - len(job.prompt)) + list(job.prompt) for job in jobs])
        mask = torch.tensor([[0] * (width - len(job.prompt)) + [1] * len(job.prompt) for job in jobs])
        out = self._model.generate(
            ids,
            attention_mask=mask,
            max_new_tokens=max(job.max_tokens for job in jobs),
            streamer=_FirstToken(self) if len(jobs) == 1 else None,
            pad_token_id=0,
            eos_token_id=None,
            **_sampling(jobs[0]),
            **self._generation,
        )
        return [row[width : width + job.max_tokens].tolist() for row, job in zip(out, jobs, strict=True)]


class Continuous:
    """transformers' continuous batching, its manager kept between runs so that only generation is timed."""

    def __init__(self, model: Any, job: Job, num_blocks: int) -> None:
        from transformers import ContinuousBatchingConfig, GenerationConfig

        self.first_token_at = 0.0
        # The cache is sized by hand: left alone it takes 60 % of the machine's memory.
        self._manager = model.init_continuous_batching(
            GenerationConfig(**_sampling(job), eos_token_id=-1, pad_token_id=0, max_new_tokens=job.max_tokens),
            ContinuousBatchingConfig(num_blocks=num_blocks),
        )
        self._manager.start()

    def generate(self, jobs: Sequence[Job]) -> list[list[int]]:
        add = self._manager.add_request
        order = [add(list(job.prompt), max_new_tokens=job.max_tokens, eos_token_id=-1) for job in jobs]
        found: dict[str, list[int]] = {}
        while len(found) < len(order):
            result = self._manager.get_result(timeout=1)
            if result is None and not self._manager.is_running():
                raise RuntimeError("transformers' continuous batching stopped by itself")
            if result is not None and result.is_finished():
                found[result.request_id] = list(result.generated_tokens)
        return [found[request_id] for request_id in order]

    def close(self) -> None:
        self._manager.stop(block=True)
        self._manager.destroy()


class _FirstToken:
    """A transformers streamer that only looks at the clock: its first call is the prompt, its second a token."""

    def __init__(self, contestant: Padded) -> None:
        self._contestant, self._calls = contestant, 0

    def put(self, _: object) -> None:
        self._calls += 1
        if self._calls == 2:
            self._contestant.first_token_at = time.perf_counter()

    def end(self) -> None:
        """Nothing to flush."""


def load_transformers(folder: Path) -> Any:
    """The same weights in transformers, float32, its own choice of attention (sdpa)."""
    from transformers import AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def _sampling(job: Job) -> dict[str, Any]:
    """The job's distribution in transformers' words; top_k is named because its default there is 50."""
    if job.temperature == 0:
        return {"do_sample": False}
    return {"do_sample": True, "temperature": job.temperature, "top_p": job.top_p, "top_k": 0}


def _params(job: Job) -> Any:
    from aphrodite_engine.params import SamplingParams

    return SamplingParams(
        temperature=job.temperature, top_p=job.top_p, seed=job.seed, max_tokens=job.max_tokens, ignore_eos=True
    )
