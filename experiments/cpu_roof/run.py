"""The one command: `python experiments/cpu_roof/run.py [--rounds 3]`; writes results.json and the tables of README.md.

llama.cpp comes as the package llama-cpp-python in an environment of its own under scratch/, compiled for this processor
the first time (10 minutes on two cores).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SCRATCH = HERE / "scratch"
sys.path[:0] = [str(HERE.parent / "throughput")]

# These lie in a folder that only this script knows.
import machine  # noqa: E402  # pyright: ignore[reportMissingImports]
import marks  # noqa: E402  # pyright: ignore[reportMissingImports]
from shapes import SHAPES, Shape, checkpoint  # noqa: E402  # pyright: ignore[reportMissingImports]

PROMPT, TOKENS, PREFILL = 32, 33, 512
BATCHES = (1, 8, 32)
#: What is compared with what: (ours, theirs, batch or None for prefill) -> how many times theirs is asked.
TARGETS = {
    ("ours bfloat16", "llama.cpp f16", "batch 1"): 0.95,
    ("ours int8", "llama.cpp q8_0", "batch 1"): 1.0,
    ("ours bfloat16", "llama.cpp f16", "batch 8"): 1.3,
    ("ours int8", "llama.cpp q8_0", "batch 8"): 1.3,
    ("ours bfloat16", "llama.cpp f16", "batch 32"): 1.2,
    ("ours int8", "llama.cpp q8_0", "batch 32"): 1.5,
    ("ours bfloat16", "llama.cpp f16", "prefill"): 1.0,
    ("ours int8", "llama.cpp q8_0", "prefill"): 1.0,
}


def jobs(shape: Shape) -> dict[str, Any]:
    """Decoding at each batch size, then one long prompt."""
    numbers = random.Random(0)
    runs = [
        {"prompts": [[numbers.randrange(shape.vocab) for _ in range(PROMPT)] for _ in range(batch)], "tokens": TOKENS}
        for batch in BATCHES
    ]
    runs.append({"prompts": [[numbers.randrange(shape.vocab) for _ in range(PREFILL)]], "tokens": 2})
    threads = len(os.sched_getaffinity(0))
    return {"runs": runs, "sequences": max(BATCHES), "length": PREFILL + 2, "threads": threads}


def llama_python() -> Path:
    """An interpreter that has llama_cpp; made if it is not there."""
    folder = SCRATCH / "llama"
    python = folder / "bin" / "python"
    if not (folder / ".made").exists():
        venv.create(folder, clear=True, with_pip=True)
        environment = {**os.environ, "CMAKE_ARGS": "-DGGML_NATIVE=ON -DLLAVA_BUILD=OFF"}
        subprocess.run([python, "-m", "pip", "install", "llama-cpp-python", "gguf"], env=environment, check=True)
        (folder / ".made").touch()
    return python


def contestants(shape: Shape) -> dict[str, list[str]]:
    """Commands, less the file of jobs in their third place."""
    folder, python = checkpoint(shape), llama_python()
    found = {
        f"ours {name}": [sys.executable, str(HERE / "our_child.py"), str(folder), json.dumps(settings)]
        for name, settings in (("bfloat16", {"dtype": "bfloat16"}), ("int8", {"quantization": "int8"}))
    }
    for kind in ("f16", "q8_0"):
        file = SCRATCH / f"{shape.name}-{kind}.gguf"
        if not file.exists():
            subprocess.run([python, HERE / "gguf_checkpoint.py", folder, file, kind], check=True)
        found[f"llama.cpp {kind}"] = [str(python), str(HERE / "llama_child.py"), str(file)]
    return found


def speeds(command: list[str], file: Path) -> tuple[dict[str, float], list[list[int]]]:
    """Tokens/s by workload, and the greedy tokens of the smallest batch."""
    done = subprocess.run([*command[:3], str(file), *command[3:]], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[1]} failed: {done.stderr[-2000:]}")
    runs = json.loads(done.stdout.splitlines()[-1])
    found = {f"batch {batch}": batch * (TOKENS - 1) / run["decode"] for batch, run in zip(BATCHES, runs, strict=False)}
    return found | {"prefill": PREFILL / runs[-1]["prefill"]}, runs[0]["outputs"]


def measure(shape: Shape, rounds: int) -> dict[str, Any]:
    """All contestants in turn; greedy tokens are compared once, before any speed counts."""
    file = SCRATCH / f"jobs-{shape.name}.json"
    file.write_text(json.dumps(jobs(shape)))
    commands, found, first = contestants(shape), {}, {}
    for _ in range(rounds):
        for name, command in commands.items():
            speed, first[name] = speeds(command, file)
            found.setdefault(name, []).append(speed)
    agree = {name: _agreeing(first["ours bfloat16"], tokens) for name, tokens in first.items()}
    if min(agree["llama.cpp f16"], agree["ours int8"]) < 1:
        raise SystemExit(f"red gate: the first greedy tokens differ: {agree}")
    return {"shape": shape.name, "measured_on": machine.facts(), "tokens_per_s": found, "tokens_agree": agree}


def _agreeing(ours: list[list[int]], theirs: list[list[int]]) -> int:
    """How many first tokens are the same: rounding differs, so later ones of random weights may not be."""
    pairs = zip(ours[0], theirs[0], strict=True)
    return next((place for place, (a, b) in enumerate(pairs) if a != b), len(ours[0]))


def tables(result: dict[str, Any]) -> str:
    """Verdicts, then tokens/s."""
    speeds = result["tokens_per_s"]
    lines = ["| target | asked | measured | reached |", "| --- | --- | --- | --- |"]
    for (ours, theirs, work), asked in TARGETS.items():
        ratio = statistics.median(a[work] / b[work] for a, b in zip(speeds[ours], speeds[theirs], strict=True))
        reached = "yes" if ratio >= asked else "no"
        lines.append(f"| {work}: {ours} beside {theirs} | ≥ {asked:.2f} | {ratio:.2f} | {reached} |")
    works = [f"batch {batch}" for batch in BATCHES] + ["prefill"]
    lines += ["", "| tokens/s | " + " | ".join(works) + " |", "| --- " * (len(works) + 1) + "|"]
    for name, rounds in speeds.items():
        cells = [f"{statistics.median(r[work] for r in rounds):.1f}" for work in works]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    facts = result["measured_on"]
    told = "; ".join(f"{name} {facts[name]}" for name in ("device", "torch", "commit", "date", "load_average"))
    return "\n".join([*lines, "", f"{len(next(iter(speeds.values())))} rounds. Measured on: {told}."])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="0.6b")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    SCRATCH.mkdir(exist_ok=True)
    result = measure(SHAPES[options.shape], options.rounds)
    (HERE / f"results-{options.shape}.json").write_text(json.dumps(result, indent=1) + "\n")
    marks.rewrite(HERE / "README.md", tables(result))
    print(tables(result))


if __name__ == "__main__":
    main()
