"""What a fresh process is asked to do; it prints one line of JSON. `python child.py <task> <folder> [dtype]`

Times are wall-clock times (time.time), which the parent subtracts from the moment at which it started this process.
Nothing is imported at the top that the task itself does not need: imports are part of what is measured.
"""

import json
import sys
import time
from typing import Any

PROMPT = "Once upon a time"
NEW_TOKENS = 32


def ours(folder: str) -> dict[str, float]:
    """Stream from our engine: the first token's moment, and the memory after a whole answer."""
    from aphrodite import LLM, SamplingParams

    imported = time.time()
    with LLM(folder) as llm:
        loaded = time.time()
        events = llm.stream(PROMPT, SamplingParams(max_tokens=NEW_TOKENS, temperature=0, ignore_eos=True))
        next(events)
        first, processor = time.time(), time.process_time()
        for _ in events:
            pass
        return {"imported": imported, "loaded": loaded, "first_token": first, "processor": processor, **_memory()}


def transformers(folder: str) -> dict[str, float]:
    """The same with transformers: one token, then the whole answer for the memory."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    imported = time.time()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype="float32")
    loaded = time.time()
    inputs = tokenizer(PROMPT, return_tensors="pt", return_token_type_ids=False)
    model.generate(**inputs, max_new_tokens=1, do_sample=False)
    first, processor = time.time(), time.process_time()
    model.generate(**inputs, max_new_tokens=NEW_TOKENS, do_sample=False)
    return {"imported": imported, "loaded": loaded, "first_token": first, "processor": processor, **_memory()}


def bare_import(_: str) -> dict[str, float]:
    """`import aphrodite` and nothing else, timed inside the process."""
    start = time.perf_counter()
    import aphrodite  # noqa: F401

    return {"import": time.perf_counter() - start}


def load(folder: str, dtype: str = "float32") -> dict[str, float]:
    """Peak memory while a checkpoint loads, above a process that has imported everything.

    The KV cache is kept tiny, so that the peak is the weights'.
    """
    import torch

    from aphrodite_engine.llm import LLM

    _ = torch.ones(64, 64) @ torch.ones(64, 64)  # the math library's own buffers are not the loader's
    before = _memory()["resident"]
    _forget_peak()
    llm = LLM(folder, dtype=dtype, device="cpu", kv_cache_memory=64 << 20, max_model_len=256)
    after = _memory()
    return {
        "weights": llm.plan.weight_bytes,
        "peak": after["peak"] - before,
        "resident": after["resident"] - before,
    }


def load_transformers(folder: str, dtype: str = "float32") -> dict[str, float]:
    """The same for transformers."""
    import torch
    from transformers import AutoModelForCausalLM

    _ = torch.ones(64, 64) @ torch.ones(64, 64)
    before = _memory()["resident"]
    _forget_peak()
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype))
    after = _memory()
    weights = sum(p.nbytes for p in model.parameters())
    return {"weights": weights, "peak": after["peak"] - before, "resident": after["resident"] - before}


def _memory() -> dict[str, float]:
    """Bytes resident now and at most so far, mapped files included (Linux)."""
    with open("/proc/self/status") as file:
        fields = dict(line.split(":", 1) for line in file)
    return {"resident": int(fields["VmRSS"].split()[0]) * 1024, "peak": int(fields["VmHWM"].split()[0]) * 1024}


def _forget_peak() -> None:
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")


if __name__ == "__main__":
    tasks = {task.__name__: task for task in (ours, transformers, bare_import, load, load_transformers)}
    print(json.dumps(tasks[sys.argv[1]](*sys.argv[2:])))
