"""Our engine's times: `python our_child.py FOLDER JOBS.json SETTINGS.json`, one JSON line out.

The prompts go in together and share steps, as they would; what is decoding begins when the last prompt is through.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from aphrodite_engine.llm import LLM
from aphrodite_engine.params import SamplingParams


def run(llm: LLM, prompts: list[list[int]], tokens: int, salt: str) -> dict[str, Any]:
    params = SamplingParams(temperature=0, max_tokens=tokens, ignore_eos=True)
    # A salt of its own: what an earlier run computed is not reused.
    results = llm.generate(prompts, params, cache_salt=salt)
    times = [result.timing for result in results if result.timing is not None]
    prefill, total = max(time.ttft_ms for time in times), max(time.total_ms for time in times)
    outputs = [result.token_ids for result in results]
    return {"prefill": prefill / 1e3, "decode": (total - prefill) / 1e3, "outputs": outputs}


def main() -> None:
    folder, jobs, settings = sys.argv[1], json.loads(Path(sys.argv[2]).read_text()), json.loads(sys.argv[3])
    with LLM(folder, max_num_seqs=jobs["sequences"], kv_cache_memory=1 << 30, **settings) as llm:
        run(llm, [prompt[:16] for prompt in jobs["runs"][0]["prompts"]], 2, "warm-up")
        found = [run(llm, job["prompts"], job["tokens"], f"run {i}") for i, job in enumerate(jobs["runs"])]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
