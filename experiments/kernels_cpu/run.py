"""Times the CPU kernels against torch, interleaved in one run: `python experiments/kernels_cpu/run.py`.

Writes results.json beside this file and prints the table of README.md. Each pair is called in turn, so that whatever
else the machine does hits both; the smallest time of each side is compared. Twice: processor time of one thread, which
other processes hardly disturb, and wall time on all cores, which they do.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable
from pathlib import Path

import torch

from aphrodite_kernels.attention import attention
from aphrodite_kernels.kv_store import allocate_kv
from aphrodite_kernels.matmul import matmul, pack
from aphrodite_kernels.native import compiled
from aphrodite_kernels.rms_norm import rms_norm
from aphrodite_kernels.sample import argmax, gumbel_argmax
from aphrodite_kernels.silu_mul import silu_mul
from aphrodite_kernels.threads import physical_cores

SECONDS_PER_PAIR = 0.5
Row = dict[str, str | float]


def compare(name: str, ours: Callable[[], object], theirs: Callable[[], object], flops: float, moved: float) -> Row:
    """One row of the table: smallest time of each side over interleaved calls."""
    row: Row = {"name": name}
    for threads, clock in ((1, time.thread_time), (physical_cores(), time.perf_counter)):
        torch.set_num_threads(threads)
        best, other, calls = smallest(ours, theirs, clock)
        row |= {
            f"ours_us_{threads}": round(best * 1e6, 1),
            f"torch_us_{threads}": round(other * 1e6, 1),
            f"speedup_{threads}": round(other / best, 2),
            f"gflop_s_{threads}": round(flops / best / 1e9, 1),
            f"gb_s_{threads}": round(moved / best / 1e9, 1),
            f"calls_{threads}": calls,
        }
    return row


def smallest(
    ours: Callable[[], object], theirs: Callable[[], object], clock: Callable[[], float]
) -> tuple[float, float, int]:
    """(our smallest time, theirs, number of calls of each) by one clock."""
    times: tuple[list[float], list[float]] = ([], [])
    ours()
    theirs()
    until = time.perf_counter() + SECONDS_PER_PAIR
    while time.perf_counter() < until or len(times[0]) < 5:
        for run, kept in zip((ours, theirs), times, strict=True):
            start = clock()
            run()
            kept.append(clock() - start)
    return min(times[0]), min(times[1]), len(times[0])


def matmuls() -> list[Row]:
    """The packed matmul against F.linear in float32."""
    rows = []
    for n, k in ((3072, 1024), (1024, 3072), (1536, 512), (151936, 1024)):
        plain = torch.randn(n, k)
        packed = pack(plain)
        for m in (1, 4, 8, 32, 128, 512):
            if m * n > 6_000_000:
                continue
            x, flops, moved = torch.randn(m, k), 2 * m * n * k, 4 * n * k
            rows.append(
                compare(
                    f"matmul N={n} K={k} M={m}",
                    lambda x=x, w=packed: matmul(x, w),
                    lambda x=x, w=plain: torch.nn.functional.linear(x, w),
                    flops,
                    moved,
                )
            )
    return rows


def attentions() -> list[Row]:
    """Attention out of the paged cache against scaled_dot_product_attention on ready, contiguous, repeated heads."""
    rows, (q_heads, kv_heads, dim) = [], (16, 8, 128)
    for batch, context, new in ((1, 1000, 1), (16, 1000, 1), (1, 0, 512), (1, 0, 2048)):
        length = context + new
        blocks = -(-length // 16)
        keys, values = allocate_kv(batch * blocks, 16, kv_heads, dim, torch.float32)
        keys.normal_()
        values.normal_()
        tables = torch.randperm(batch * blocks).int().view(batch, blocks)
        starts, past = (torch.arange(batch + 1) * new).int(), torch.full((batch,), context).int()
        q = torch.randn(batch * new, q_heads, dim)
        a, b, c = (torch.randn(batch, q_heads, size, dim) for size in (new, length, length))
        flops = 4 * batch * q_heads * dim * sum(context + i + 1 for i in range(new))
        rows.append(
            compare(
                f"attention B={batch} context={context} new={new}",
                lambda q=q, k=keys, v=values, t=tables, s=starts, p=past: attention(q, k, v, t, s, p, dim**-0.5),
                lambda a=a, b=b, c=c, n=new: torch.nn.functional.scaled_dot_product_attention(a, b, c, is_causal=n > 1),
                flops,
                8 * batch * length * kv_heads * dim,
            )
        )
    return rows


def row_ops() -> list[Row]:
    """The small ops, one row and many."""
    rows = []
    for tokens in (1, 512):
        x, weight, gate_up = torch.randn(tokens, 1024), torch.ones(1024), torch.randn(tokens, 6144)
        rows.append(
            compare(
                f"rms_norm T={tokens} D=1024",
                lambda x=x, w=weight: rms_norm(x, w, 1e-6),
                lambda x=x, w=weight: torch.nn.functional.rms_norm(x, (1024,), w, 1e-6),
                4 * x.numel(),
                2 * x.nbytes,
            )
        )
        rows.append(
            compare(
                f"silu_mul T={tokens} F=3072",
                lambda x=gate_up: silu_mul(x),
                lambda x=gate_up: torch.nn.functional.silu(x[:, :3072]) * x[:, 3072:],
                3 * gate_up.numel(),
                1.5 * gate_up.nbytes,
            )
        )
    return rows


def choices() -> list[Row]:
    """Tokens for 32 rows of a vocabulary of 152 k; torch's draw is argmax(softmax / exponential noise)."""
    logits, key = torch.randn(32, 151936), torch.arange(32)
    return [
        compare("argmax R=32 V=151936", lambda: argmax(logits), lambda: logits.argmax(-1), 0, logits.nbytes),
        compare(
            "draw R=32 V=151936",
            lambda: gumbel_argmax(logits, key, key, key, 0),
            lambda: (logits.softmax(-1) / torch.empty_like(logits).exponential_()).argmax(-1),
            0,
            logits.nbytes,
        ),
    ]


def main() -> None:
    torch.manual_seed(0)
    compiled()
    rows = [*matmuls(), *attentions(), *row_ops(), *choices()]
    about = {"torch": torch.__version__, "threads": physical_cores(), "machine": platform.machine()}
    flags = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags")), "")
    about["vectors"] = "avx512" if "avx512f" in flags else "avx2" if "avx2" in flags else "other"
    Path(__file__).with_name("results.json").write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n")
    n = physical_cores()
    print(f"| op | ours, µs | torch, µs | faster | GFLOP/s | GB/s | faster, {n} threads | GFLOP/s | GB/s |")
    print("|---" * 9 + "|")
    for row in rows:
        cells = [row[f"{key}_1"] for key in ("ours_us", "torch_us", "speedup", "gflop_s", "gb_s")]
        cells += [row[f"{key}_{n}"] for key in ("speedup", "gflop_s", "gb_s")]
        print("|", " | ".join(map(str, [row["name"], *cells])), "|")


if __name__ == "__main__":
    main()
