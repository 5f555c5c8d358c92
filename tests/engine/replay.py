"""Fixed requests as JSON, so that two processes can be compared: `python -m tests.engine.replay FOLDER` with ways to
run them on standard input prints what each way gave."""

from __future__ import annotations

import json
import sys
from typing import Any

from aphrodite_engine.llm import LLM
from aphrodite_engine.outputs import GenerationResult
from aphrodite_engine.params import SamplingParams

PROMPTS: list[list[int]] = [list(range(1, 40)), list(range(1, 36)), [9], [5, 6, 7] * 9, [70, 71] * 12]
PARAMS = [
    SamplingParams(seed=1, max_tokens=12, logprobs=3, n=2, temperature=0.8, top_p=0.9),
    SamplingParams(seed=2, max_tokens=12, logprobs=3, top_k=20, repetition_penalty=1.2),
    SamplingParams(max_tokens=12, logprobs=3, temperature=0, frequency_penalty=0.4, ignore_eos=True),
    SamplingParams(seed=5, max_tokens=20, logprobs=2, n=2, banned_phrases=["\ufffd", *"aeiou"], adaptive_target=0.3),
    SamplingParams(seed=4, max_tokens=12, logprobs=20, min_p=0.05, logit_bias={3: 2.0}),
]


def run(llm: LLM, *, one_by_one: bool) -> list[Any]:
    """Tokens and logprobs of every sequence; floats as hexadecimal, which loses nothing."""
    if one_by_one:
        results = [llm.generate(prompt, params)[0] for prompt, params in zip(PROMPTS, PARAMS, strict=True)]
    else:
        results = llm.generate(PROMPTS, PARAMS)
    return [_exact(result) for result in results]


def _exact(result: GenerationResult) -> list[Any]:
    return [
        [output.token_ids, [[t, p.logprob.hex(), p.rank] for at in output.logprobs or [] for t, p in at.items()]]
        for output in result.outputs
    ]


def main() -> None:
    found = []
    for way in json.load(sys.stdin):
        with LLM(sys.argv[1], **way["settings"]) as llm:
            found.append(run(llm, one_by_one=way["one_by_one"]))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
