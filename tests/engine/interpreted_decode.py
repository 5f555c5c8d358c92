"""python -m tests.engine.interpreted_decode FOLDER: the tokens of three requests and the sizes that were replayed, a
line for each way of running them."""

from __future__ import annotations

import json
import sys

import pytest

from aphrodite_engine.llm import LLM
from aphrodite_engine.params import SamplingParams
from tests.engine.inside import replay_steps

PROMPTS = [[1, 2, 3], [5] * 20, [7]]
PARAMS = [
    SamplingParams(seed=1, max_tokens=3, ignore_eos=True),
    SamplingParams(seed=2, max_tokens=4, ignore_eos=True, top_p=0.9),
    SamplingParams(seed=3, max_tokens=2, ignore_eos=True, temperature=0.0),
]


def main(folder: str) -> None:
    for run_ahead, graphs in ((False, False), (False, True), (True, True)):
        with (
            LLM(folder, enable_prefix_caching=False, max_num_seqs=4, max_model_len=64, run_ahead=run_ahead) as llm,
            pytest.MonkeyPatch.context() as patch,
        ):
            replayed = replay_steps(patch, llm) if graphs else None
            found = [list(result.outputs[0].token_ids) for result in llm.generate(PROMPTS, PARAMS)]
            print(json.dumps([found, replayed.captured if replayed else ()]))


if __name__ == "__main__":
    main(sys.argv[1])
