"""The one command: `python experiments/serving/run.py [--parts layers,streams,...] [--rounds N]`.

Writes results/*.json and refreshes the tables of README.md. Answers are counted and checked before any speed is told.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvloop

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "throughput"), str(HERE.parent.parent)]

# These lie in folders that only this script knows.
import machine  # noqa: E402  # pyright: ignore[reportMissingImports]
import parts  # noqa: E402
import tables  # noqa: E402

RESULTS = HERE / "results"
PARTS: dict[str, Callable[[int], Any]] = {
    "layers": parts.layers,
    "cost": parts.cost,
    "streams": parts.streams,
    "serve": parts.serve,
    "offline": parts.offline,
    "cancel": parts.cancel,
    "memory": parts.memory,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    for name in options.parts.split(","):
        if name not in PARTS:
            parser.error(f"{name}: not one of {', '.join(PARTS)}")
        began = time.perf_counter()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            found = runner.run(PARTS[name](options.rounds))
        result = {"part": name, "measured_on": machine.facts(), **found}
        (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
        print(f"{name}: {time.perf_counter() - began:.0f} s", flush=True)
    tables.refresh(RESULTS, HERE / "README.md")


if __name__ == "__main__":
    main()
