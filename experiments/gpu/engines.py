"""What is measured: our engine, and vLLM where it is installed. Ids in, ids out, all jobs of a call together."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Protocol

from experiments.throughput import workloads
from experiments.throughput.workloads import Job

#: Longest sequence, of either engine; and how many tokens a step of ours may compute, which vLLM chooses by itself.
CONTEXT, STEP_TOKENS = 4096, 8192


class Engine(Protocol):
    """Runs jobs. Calls never meet each other's prefixes in the cache."""

    def generate(self, jobs: list[Job], salt: str) -> list[int]:
        """How many tokens each job gave."""
        ...

    def close(self) -> None:
        """Give the memory back."""
        ...


class Ours:
    """`LLM` of this repository. Every job has a seed of its own, which costs nothing here."""

    def __init__(self, folder: Path, device: str, **settings: Any) -> None:
        from aphrodite_engine.llm import LLM

        on_gpu = device.startswith("cuda")
        settings = {"max_num_batched_tokens": STEP_TOKENS} | settings if on_gpu else settings
        dtype = "bfloat16" if on_gpu else "float32"
        self._llm = LLM(folder, dtype=dtype, device=device, seed=0, max_model_len=CONTEXT, **settings)

    def generate(self, jobs: list[Job], salt: str) -> list[int]:
        from aphrodite_engine.params import SamplingParams

        params = [
            SamplingParams(temperature=job.temperature, top_p=job.top_p, seed=job.seed, max_tokens=job.max_tokens,
                           ignore_eos=True) for job in jobs
        ]  # fmt: skip
        results = self._llm.generate([list(job.prompt) for job in jobs], params, cache_salt=salt)
        return [len(result.token_ids) for result in results]

    def close(self) -> None:
        self._llm.close()


class VLLM:
    """vLLM with its own defaults, which are its best: CUDA graphs, compiled layers, prefix cache; the same dtype.

    A seed of its own makes vLLM draw a request's tokens by themselves, which is slower; a request gets one only in a
    call whose jobs share a prompt and differ by seed, which is what the sweep asks for.
    """

    def __init__(self, folder: Path) -> None:
        from vllm import LLM  # type: ignore[import-not-found]

        self._llm = LLM(
            model=str(folder), skip_tokenizer_init=True, dtype="bfloat16", max_model_len=CONTEXT,
            enable_prefix_caching=True, seed=0,
        )  # fmt: skip

    def generate(self, jobs: list[Job], salt: str) -> list[int]:
        from vllm import SamplingParams, TokensPrompt  # type: ignore[import-not-found]

        seeded = len({job.prompt for job in jobs}) < len(jobs)
        params = [
            SamplingParams(temperature=job.temperature, top_p=job.top_p, seed=job.seed if seeded else None,
                           max_tokens=job.max_tokens, ignore_eos=True, detokenize=False) for job in jobs
        ]  # fmt: skip
        prompts = [TokensPrompt(prompt_token_ids=list(job.prompt), cache_salt=salt) for job in jobs]
        results = self._llm.generate(prompts, params, use_tqdm=False)
        return [len(result.outputs[0].token_ids) for result in results]

    def close(self) -> None:
        del self._llm


class Timed:
    """An engine with a watch; whoever gives another number of tokens than asked for is not timed."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self._calls = engine, 0

    def seconds(self, jobs: list[Job]) -> float:
        """How long the jobs take together."""
        self._calls += 1
        start = time.perf_counter()
        lengths = self._engine.generate(jobs, str(self._calls))
        taken = time.perf_counter() - start
        if lengths != [job.max_tokens for job in jobs]:
            raise SystemExit(f"red gate: {sum(lengths)} tokens, {sum(job.max_tokens for job in jobs)} were asked for")
        return taken

    def warm_up(self, jobs: list[Job]) -> None:
        """The same prompts with a few new tokens each."""
        self.seconds(workloads.shortened(jobs, 4))

    def rate(self, jobs: list[Job]) -> float:
        """Output tokens a second."""
        return sum(job.max_tokens for job in jobs) / self.seconds(jobs)

    def decode_rate(self, tokens: int) -> float:
        """Tokens a second of one sequence behind its first token."""
        first = self.seconds([workloads.latency(1)])
        return (tokens - 1) / max(self.seconds([workloads.latency(tokens)]) - first, 1e-9)

    def sweep(self, jobs: list[Job], some: int = 4) -> tuple[float, float]:
        """Seconds of all jobs together, and of all one by one, reckoned from `some` of them."""
        together = self.seconds(jobs)
        few = jobs[:: max(1, len(jobs) // some)]
        return together, sum(self.seconds([job]) for job in few) * len(jobs) / len(few)

    def close(self) -> None:
        self._engine.close()
