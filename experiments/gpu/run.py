"""`make gpu`: the gate on a GPU, then the benchmarks, in nine minutes.

    gate        at once: the gpu-marked tests of tests/kernels, every op on the card; the contract of strict mode
                (tests/engine: batches, chunks, cache, preemption, restarts, continuations, banned phrases); parity of
                every architecture with transformers, encoders included
    card        tests/engine/test_on_gpu.py, alone: eager against graphs, sleep and wake, memory returned on close
    roof        aphrodite_kernels.bench: each op as a share of what a copy or a product reaches
    workloads   workload.py: offline in both modes, sweep, latency, start, with random weights

Writes <device>/*.json beside this file and the tables of README.md. A failed test ends it before anything is timed; a
benchmark that runs out of time leaves what it had measured. Needs torch, triton, transformers, pytest and hypothesis,
and for Triton gcc or clang with Python's headers; no network, nothing is installed.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
for place in (*(ROOT / area for area in ("apps", "workbench", "engine", "kernels")), ROOT):
    sys.path.insert(0, str(place))

from experiments.gpu import report  # noqa: E402

BUDGET_SECONDS = 9 * 60
#: What the contract is made of. Tests of what a CUDA image lacks (llguidance) skip themselves by name.
CONTRACT = ("test_contract.py", "test_continuation.py", "test_banned_phrases.py")
QUICK = {
    "attention": "_D8", "products": "M1_N1_K1", "kernels": "zero_tokens", "contract": "streamed_or_not or several",
    "models": "fast_determinism and llama or depend and bert",
}  # fmt: skip
#: Tests of the ops, in parts that take about as long: compiling is what takes time.
KERNELS = {
    "attention": ("attention", "triton_paths"),
    "products": ("matmul", "decoder_layers"),
    "kernels": ("row_ops", "sample", "nucleus", "draw"),
}
#: Seconds that a process has to end by itself, with what it found, once it is told to.
GRACE = 10.0


@dataclass(frozen=True)
class Stage:
    """Child processes that run at once, each the words behind `python`, and the most time they may take.

    Attributes:
        results: the file that they write; what an earlier run left there is of another commit.
    """

    name: str
    commands: Mapping[str, tuple[str, ...]]
    seconds: float
    is_gate: bool = False
    results: Path | None = None


def tests(*arguments: str) -> tuple[str, ...]:
    """pytest with the settings of this folder, blind to the conftest file above areas, which wants a browser."""
    folder = "/".join(arguments[0].split("/")[:2])
    return ("-m", "pytest", "-q", "-c", str(HERE / "pytest.ini"), f"--rootdir={ROOT}", f"--confcutdir={folder}",
            *arguments)  # fmt: skip


def stages(device: str, quick: bool, results: Path) -> list[Stage]:
    """What is run, in order. Quick and on the CPU it is the same with little to do, to see that it works."""
    on_gpu = device.startswith("cuda")
    gate = {
        name: tests(*(f"tests/kernels/test_{file}.py" for file in files), "-m", "gpu" if on_gpu else "not gpu")
        for name, files in KERNELS.items()
    }
    gate["contract"] = tests(*(f"tests/engine/{file}" for file in CONTRACT))
    gate["models"] = tests(*(f"tests/engine/models/test_{file}.py" for file in ("decoders", "encoder")))
    kernels, workloads = results / "kernels.json", results / "workloads.json"
    bench = ("-m", "aphrodite_kernels.bench", "--device", device, "--json", str(kernels))
    workload = (str(HERE / "workload.py"), "--device", device, "--json", str(workloads))
    if quick:
        gate = {name: (*command, "-k", QUICK[name]) for name, command in gate.items()}
        bench += ("--quick", "--seconds", "0.001", "--ops", "rms_norm", "silu_mul")
        workload += ("--quick",)
    return [
        Stage("gate", gate, 240, is_gate=True),
        Stage("card", {"card": tests("tests/engine/test_on_gpu.py")}, 120, is_gate=True),
        Stage("roof", {"roof": bench}, 100, results=kernels),
        Stage("workloads", {"workloads": workload}, BUDGET_SECONDS, results=workloads),
    ]


def run(stage: Stage, device: str, until: float) -> float:
    """Run a stage to its end; how long it took.

    Raises:
        SystemExit: a process of it failed, or the gate took longer than it may.
    """
    print(f"== {stage.name}", flush=True)
    if stage.results is not None:
        stage.results.unlink(missing_ok=True)
    start = time.perf_counter()
    limit = min(stage.seconds, until - start)
    with ThreadPoolExecutor(len(stage.commands)) as pool:
        endings = pool.map(lambda command: finish(command, device, limit), stage.commands.values())
    bad = []
    for name, (status, said) in zip(stage.commands, endings, strict=True):
        print(f"-- {name}\n{said}", flush=True)
        bad += [] if status == 0 or (status is None and not stage.is_gate) else [f"{name} {_ending(status, limit)}"]
    if bad:
        raise SystemExit(f"red gate: {', '.join(bad)}; nothing after it was run")
    return round(time.perf_counter() - start, 1)


def finish(command: tuple[str, ...], device: str, limit: float) -> tuple[int | None, str]:
    """A child's status (None: out of time and ended) and all that it said, both streams in one."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": python_path()}
    environment["TORCH_ALLOW_TF32_CUBLAS_OVERRIDE"] = "0"  # some images set it, and transformers' float32 is the truth
    if not device.startswith("cuda"):
        environment["CUDA_VISIBLE_DEVICES"] = ""
    with tempfile.TemporaryFile("w+") as said:
        child = subprocess.Popen(
            [sys.executable, *command], cwd=ROOT, env=environment, stdout=said, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
        try:
            status = child.wait(max(limit, 1))
        except subprocess.TimeoutExpired:
            status = None
            end(child)
        said.seek(0)
        return status, said.read()


def end(child: subprocess.Popen[bytes]) -> None:
    """Interrupt a process and its children, so that they tell what they found and clean up; then kill what is left."""
    for word, seconds in ((signal.SIGINT, GRACE), (signal.SIGKILL, None)):
        with suppress(ProcessLookupError):  # they have all ended
            os.killpg(child.pid, word)
        with suppress(subprocess.TimeoutExpired):
            child.wait(seconds)


def python_path() -> str:
    """The four areas, the root for tests and experiments, and whatever was there."""
    places = [*(str(ROOT / area) for area in ("kernels", "engine", "workbench", "apps")), str(ROOT)]
    return os.pathsep.join([*places, *filter(None, [os.environ.get("PYTHONPATH")])])


def _ending(status: int | None, limit: float) -> str:
    return f"was not done after {limit:.0f} s" if status is None else f"ended with status {status}"


def about(device: str) -> dict[str, str]:
    """What was measured on."""
    import torch

    from experiments.throughput import machine

    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else "CPU, to see that it works"
    facts = machine.facts()
    return {
        "device": name,
        **{fact: str(facts[fact]) for fact in ("commit", "date", "torch", "triton", "transformers")},
    }


def check_launcher() -> None:
    """Let Triton build what it launches kernels with.

    Raises:
        SystemExit: it cannot.
    """
    from triton.runtime import driver

    try:
        driver.active.get_current_target()
    except (RuntimeError, subprocess.CalledProcessError) as error:
        raise SystemExit(
            f"make gpu: Triton needs gcc or clang and Python's headers here, so nothing was run: {error}"
        ) from error


def results_folder(facts: dict[str, str]) -> Path:
    """Named after the device, beside this file."""
    return HERE / "-".join(facts["device"].lower().split())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true", help="little of everything, to see that it works")
    parser.add_argument("--results", type=Path, help="a folder (default: named after the device, beside this file)")
    options = parser.parse_args()
    import torch

    if options.device.startswith("cuda") and not torch.cuda.is_available():
        raise SystemExit("make gpu: torch sees no CUDA device here, so nothing was run")
    if options.device.startswith("cuda"):
        check_launcher()
    until = time.perf_counter() + BUDGET_SECONDS
    facts = about(options.device)
    results = options.results or results_folder(facts)
    results.mkdir(parents=True, exist_ok=True)
    taken = {stage.name: run(stage, options.device, until) for stage in stages(options.device, options.quick, results)}
    (results / "about.json").write_text(json.dumps({**facts, "seconds": taken}, indent=1) + "\n")
    if options.results is None:
        report.refresh(HERE)
    print("\n".join(report.summary(results.parent)))


if __name__ == "__main__":
    main()
