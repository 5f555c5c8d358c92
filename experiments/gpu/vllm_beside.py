"""Our engine and vLLM on the same card in one run: offline, sweep and latency on the 0.6B shape.

Each contestant has a process of its own, one after the other, round after round (ours fast, ours strict, vLLM, ours
fast, ...), since each wants the card's memory for itself. Writes <device>/vllm.json and the table of README.md. Where
vLLM cannot be imported it says so in one line and ends with status 1; nothing is ever installed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
for place in (*(HERE.parents[1] / area for area in ("apps", "workbench", "engine", "kernels")), HERE.parents[1]):
    sys.path.insert(0, str(place))

from experiments.gpu.engines import VLLM, Ours, Timed  # noqa: E402
from experiments.throughput import shapes, workloads  # noqa: E402

#: Contestant -> our mode; vLLM has none.
CONTESTANTS = {"fast": "fast", "strict": "strict", "vllm": None}
Workloads = dict[str, dict[str, float]]


def contest(name: str, folder: Path, device: str, quick: bool) -> Workloads:
    """One contestant's figures, in this process."""
    mode = CONTESTANTS[name]
    settings = {"kv_cache_memory": 64 << 20} if quick else {}
    engine = Timed(Ours(folder, device, determinism=mode, **settings) if mode else VLLM(folder))
    jobs = workloads.offline_on_cpu(4, 8) if quick else workloads.offline()
    points = workloads.sweep(2, 2, 1, 64, 4) if quick else workloads.sweep()
    for many in (jobs, points):
        engine.warm_up(many)
    found = {"offline": {"output tok/s": engine.rate(jobs)}}
    together, alone = engine.sweep(points)
    found["sweep"] = {"requests/s": len(points) / together, "one by one / together": alone / together}
    engine.decode_rate(8)
    found["latency"] = {"output tok/s": engine.decode_rate(8 if quick else 128)}
    engine.close()
    return found


def in_turns(pythons: dict[str, str], folder: Path, device: str, quick: bool, rounds: int) -> dict[str, Workloads]:
    """Medians of the rounds, contestant by contestant."""
    found: dict[str, list[Workloads]] = {name: [] for name in pythons}
    for number in range(rounds):
        for name, python in pythons.items():
            found[name].append(_child(python, name, folder, device, quick))
            print(f"round {number + 1}: {name} {json.dumps(found[name][-1])}", flush=True)
    return {name: _medians(many) for name, many in found.items()}


def _child(python: str, name: str, folder: Path, device: str, quick: bool) -> Workloads:
    with tempfile.TemporaryDirectory() as home:
        file = Path(home) / "figures.json"
        command = [python, __file__, "--device", device, "--contestant", name, str(folder), str(file)]
        done = subprocess.run([*command, *(["--quick"] if quick else [])], check=False)
        if done.returncode:
            raise SystemExit(f"vllm_beside: {name} ended with status {done.returncode}")
        return json.loads(file.read_text())


def _medians(many: list[Workloads]) -> Workloads:
    return {
        workload: {figure: statistics.median(one[workload][figure] for one in many) for figure in figures}
        for workload, figures in many[0].items()
    }


def vllm_of(python: str) -> str:
    """Its version.

    Raises:
        SystemExit: that Python has none.
    """
    said = "from importlib.metadata import version; import vllm; print(version('vllm'))"
    done = subprocess.run([python, "-c", said], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"vllm_beside: {python} cannot import vllm, so nothing was run; README.md says how to get it")
    return done.stdout.splitlines()[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true", help="little of everything, to see that it works")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--vllm-python", default=sys.executable, help="a Python that can import vllm (default: this)")
    parser.add_argument("--results", type=Path, help="a folder (default: named after the device, beside this file)")
    parser.add_argument("--contestant", nargs=3, metavar=("NAME", "FOLDER", "JSON"), help="only that, for the script")
    options = parser.parse_args()
    if options.contestant:
        name, folder, file = options.contestant
        Path(file).write_text(json.dumps(contest(name, Path(folder), options.device, options.quick)))
        return
    measure(options)


def measure(options: argparse.Namespace) -> None:
    """Run all, write what was found, show the table."""
    version = vllm_of(options.vllm_python)

    from experiments.gpu import report
    from experiments.gpu.checkpoint import checkpoint
    from experiments.gpu.run import about, results_folder
    from experiments.gpu.workload import TINY

    facts = about(options.device)
    results = options.results or results_folder(facts)
    results.mkdir(parents=True, exist_ok=True)
    pythons = {name: sys.executable if mode else options.vllm_python for name, mode in CONTESTANTS.items()}
    with checkpoint(TINY if options.quick else shapes.SHAPES["0.6b"]) as folder:
        found = in_turns(pythons, folder, options.device, options.quick, 1 if options.quick else options.rounds)
    (results / "vllm.json").write_text(json.dumps({**facts, "vllm": version, "figures": found}, indent=1) + "\n")
    if not (results / "about.json").exists():  # before any `make gpu`
        (results / "about.json").write_text(json.dumps(facts, indent=1) + "\n")
    if options.results is None:
        report.refresh(HERE)
    print("\n".join(report.beside(json.loads((results / "vllm.json").read_text()))))


if __name__ == "__main__":
    main()
