"""llama.cpp's times for the same jobs as ours.py: `python llama_child.py FILE.gguf JOBS.json`, one JSON line out.

Greedy, through its own C interface; taking the largest logit (numpy) is part of a step, as it is of ours.
"""

from __future__ import annotations

import ctypes
import json
import sys
import time
from pathlib import Path

import llama_cpp  # pyright: ignore[reportMissingImports]
import numpy as np


class Model:
    """A loaded file with a context for `sequences` of `length` tokens."""

    def __init__(self, path: str, sequences: int, length: int, threads: int) -> None:
        llama_cpp.llama_backend_init()
        self._model = llama_cpp.llama_model_load_from_file(path.encode(), llama_cpp.llama_model_default_params())
        settings = llama_cpp.llama_context_default_params()
        settings.n_ctx, settings.n_seq_max = sequences * length, sequences
        settings.n_batch = settings.n_ubatch = 512
        settings.n_threads = settings.n_threads_batch = threads
        self._context = llama_cpp.llama_init_from_model(self._model, settings)
        self.vocab = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self._model))
        self._batch = llama_cpp.llama_batch_init(512, 0, 1)

    def decode(self, rows: list[tuple[int, int, int, bool]]) -> list[int]:
        """Rows of (token, position, sequence, wants logits); the most likely next token of those that want it."""
        batch = self._batch
        batch.n_tokens = len(rows)
        for i, (token, position, sequence, wants) in enumerate(rows):
            batch.token[i], batch.pos[i], batch.logits[i] = token, position, wants
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, sequence
        if llama_cpp.llama_decode(self._context, batch) != 0:
            raise RuntimeError("llama_decode failed")
        return [self._largest(i) for i, row in enumerate(rows) if row[3]]

    def _largest(self, row: int) -> int:
        logits = llama_cpp.llama_get_logits_ith(self._context, row)
        return int(np.ctypeslib.as_array(ctypes.cast(logits, ctypes.POINTER(ctypes.c_float)), (self.vocab,)).argmax())

    def forget(self) -> None:
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self._context), True)


def run(model: Model, prompts: list[list[int]], tokens: int) -> dict[str, object]:
    """Prompts one after the other, then all sequences together, a token a step."""
    model.forget()
    began = time.perf_counter()
    last = []
    for sequence, prompt in enumerate(prompts):
        found: list[int] = []
        for start in range(0, len(prompt), 512):
            part = prompt[start : start + 512]
            rows = [(t, start + i, sequence, start + i == len(prompt) - 1) for i, t in enumerate(part)]
            found = model.decode(rows)
        last.append(found[0])
    prefilled = time.perf_counter()
    outputs = [[token] for token in last]
    for step in range(tokens - 1):
        rows = [(out[-1], len(prompts[s]) + step, s, True) for s, out in enumerate(outputs)]
        for out, token in zip(outputs, model.decode(rows), strict=True):
            out.append(token)
    return {"prefill": prefilled - began, "decode": time.perf_counter() - prefilled, "outputs": outputs}


def main() -> None:
    path, jobs = sys.argv[1], json.loads(Path(sys.argv[2]).read_text())
    model = Model(path, jobs["sequences"], jobs["length"], jobs["threads"])
    run(model, [prompt[:16] for prompt in jobs["runs"][0]["prompts"]], 2)
    print(json.dumps([run(model, job["prompts"], job["tokens"]) for job in jobs["runs"]]))


if __name__ == "__main__":
    main()
