"""`python -m aphrodite_kernels.bench`: every op on the device that is there, as a share of that device's roof.

A line a case: how long a call takes (median), the bytes it must move and the operations it must do over that time, the
share of the roof (a measured copy, or a measured product where arithmetic is the limit), and its error against float64.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from aphrodite_kernels import attention, dispatch, draw, kv_store, matmul, nucleus, rms_norm, rope, sample, silu_mul
from aphrodite_kernels.case import Case, relative_error
from aphrodite_kernels.roofline import Roof, measure, median_seconds
from aphrodite_kernels.threads import physical_cores

OPS = {
    module.__name__.split(".")[-1]: module
    for module in (rms_norm, rope, silu_mul, kv_store, matmul, attention, sample, nucleus, draw)
}
#: Ops that take their plain torch reference where others have C.
WITHOUT_C = frozenset(("draw",))
HEAD = "\n| op | case | backend | dtype | µs | GB/s | GFLOP/s | of the roof | error |\n" + "|---" * 9 + "|"
#: Above this many operations the float64 truth would take longer than the measurement.
CHECKED_FLOPS = 2e9


@dataclass(frozen=True)
class Measured:
    """One case on one backend.

    Attributes:
        roof: share of the least possible time, 1 is perfect; small cases are bound by the launch instead.
        error: relative root mean square error, None where the case is too large to check.
    """

    op: str
    case: str
    backend: str
    dtype: str
    microseconds: float
    gb_per_s: float
    gflop_per_s: float
    roof: float
    error: float | None


def run_case(op: str, case: Case, device: torch.device, dtype: torch.dtype, roof: Roof, seconds: float) -> Measured:
    """Check a case, then time it."""
    inputs = case.make(device, dtype, torch.Generator().manual_seed(0))
    error = None
    if case.flops <= CHECKED_FLOPS:
        truth = case.truth(**inputs)
        error = relative_error(case.run(**inputs), truth)
        inputs = case.make(device, dtype, torch.Generator().manual_seed(0))  # an op in place has changed them
    taken = median_seconds(lambda: case.run(**inputs), device, seconds)
    return Measured(
        op=op,
        case=case.name,
        backend=_backend(op, device).value,
        dtype=str(dtype).removeprefix("torch."),
        microseconds=round(taken * 1e6, 2),
        gb_per_s=round(case.moved(dtype) / taken / 1e9, 2),
        gflop_per_s=round(case.flops / taken / 1e9, 2),
        roof=round(roof.seconds(case, dtype) / taken, 4),
        error=error,
    )


def run(
    ops: list[str], device: torch.device, dtype: torch.dtype, seconds: float, quick: bool, file: Path | None = None
) -> list[Measured]:
    """Every op's LARGE cases (its CASES where quick), each for about so many seconds, printed and written when done."""
    if device.type == "cpu":
        torch.set_num_threads(physical_cores())
    roof = measure(device, dtype, seconds)
    print(f"roof: copy {roof.bytes_per_s / 1e9:.1f} GB/s, product {roof.flops_per_s / 1e9:.0f} GFLOP/s ({dtype})")
    print(HEAD)
    rows: list[Measured] = []
    for name in ops:
        for case in OPS[name].CASES if quick else OPS[name].LARGE:
            rows.append(run_case(name, case, device, dtype, roof, seconds))
            print(line(rows[-1]), flush=True)
            if file is not None:
                file.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    return rows


def _backend(op: str, device: torch.device) -> dispatch.Backend:
    chosen = dispatch.backend(device.type)
    return dispatch.Backend.REFERENCE if chosen is dispatch.Backend.NATIVE and op in WITHOUT_C else chosen


def line(row: Measured) -> str:
    """A row of a Markdown table under HEAD."""
    error = "not checked" if row.error is None else f"{row.error:.1e}"
    return (
        f"| {row.op} | {row.case} | {row.backend} | {row.dtype} | {row.microseconds:,.1f} | {row.gb_per_s:,.1f} "
        f"| {row.gflop_per_s:,.1f} | {row.roof:.0%} | {error} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m aphrodite_kernels.bench", description=__doc__)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), help="default: bfloat16 on a GPU")
    parser.add_argument("--ops", nargs="+", choices=sorted(OPS), default=list(OPS))
    parser.add_argument("--seconds", type=float, default=0.2, help="of each case (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="the small cases of the tests")
    parser.add_argument("--json", type=Path, help="write the rows there, too")
    options = parser.parse_args()
    device = torch.device(options.device)
    dtype = getattr(torch, options.dtype or ("bfloat16" if device.type == "cuda" else "float32"))
    run(options.ops, device, dtype, options.seconds, options.quick, options.json)
    if device.type != "cuda":
        print("\nGPU: not measured (no CUDA device was asked for); `--device cuda` where there is one")


if __name__ == "__main__":
    main()
