"""Choosing tokens: the largest logit, or a draw by the Gumbel-max method with counter-based randomness.

Philox4x32-10 (Salmon et al., SC 2011) turns (seed, sequence, position, purpose, token index) into a number; there is no
generator state, so nothing that happens elsewhere in a batch can change a draw. R rows, V tokens.
"""

from __future__ import annotations

from types import ModuleType

import torch

from aphrodite_kernels import native
from aphrodite_kernels.case import Case
from aphrodite_kernels.checks import check_index, describe
from aphrodite_kernels.dispatch import Backend, backend_of

WORD = 0xFFFFFFFF
NOTHING = -1


def philox_uniform(
    seeds: torch.Tensor, sequence: torch.Tensor, position: torch.Tensor, purpose: int, n: int
) -> torch.Tensor:
    """(R, n) float32 numbers in the open interval (0, 1): odd multiples of 2^-24. The same bits everywhere.

    Args:
        seeds: (R,) int64, the 64-bit key.
        sequence, position: (R,) int64, of which the low 32 bits count.
        purpose: what the numbers are for, in [0, 2^32); a different purpose is a different stream.
        n: how many per row; number i is word i % 4 of counter (i // 4, position, sequence, purpose).

    Raises:
        ValueError: a shape, dtype, device or range does not fit.
    """
    _check_streams(seeds, sequence, position, purpose)
    chosen = backend_of(seeds)
    if chosen is Backend.REFERENCE:
        return philox_uniform_reference(seeds, sequence, position, purpose, n)
    out = torch.empty((seeds.shape[0], n), dtype=torch.float32, device=seeds.device)
    if chosen is Backend.TRITON:
        _on_gpu().philox_uniform((seeds, sequence, position, purpose), out)
        return out
    native.compiled().philox_uniform(
        seeds.data_ptr(), sequence.data_ptr(), position.data_ptr(), purpose, out.data_ptr(), seeds.shape[0], n,
        torch.get_num_threads(),
    )  # fmt: skip
    return out


def gumbel_argmax(
    logits: torch.Tensor, seeds: torch.Tensor, sequence: torch.Tensor, position: torch.Tensor, purpose: int
) -> torch.Tensor:
    """Draw one token a row from softmax(logits): (R,) int64, the argmax of logits + g with g = -ln(-ln u).

    u is what `philox_uniform` gives for the row. A logit of -infinity (or NaN) is never drawn; ties go to the lowest
    id; a row without any other logit gives NOTHING (-1).

    Args:
        logits: (R, V) float32 contiguous.
        seeds, sequence, position, purpose: see `philox_uniform`.

    Raises:
        ValueError: a shape, dtype, device or range does not fit.
    """
    check_logits(logits)
    _check_streams(seeds, sequence, position, purpose)
    rows, vocab = logits.shape
    if seeds.shape[0] != rows or seeds.device != logits.device:
        raise ValueError(f"seeds must be ({rows},) on {logits.device}, got {describe(seeds)}")
    chosen = backend_of(logits)
    if chosen is Backend.REFERENCE:
        return argmax_reference(
            logits - (-philox_uniform_reference(seeds, sequence, position, purpose, vocab).log()).log()
        )
    out = torch.empty(rows, dtype=torch.int64, device=logits.device)
    if chosen is Backend.TRITON:
        _on_gpu().gumbel_argmax(logits, (seeds, sequence, position, purpose), out)
        return out
    native.compiled().gumbel_argmax(
        logits.data_ptr(), seeds.data_ptr(), sequence.data_ptr(), position.data_ptr(), purpose, out.data_ptr(),
        rows, vocab, torch.get_num_threads(),
    )  # fmt: skip
    return out


def argmax(logits: torch.Tensor) -> torch.Tensor:
    """(R,) int64: the lowest id of each row's largest logit; NOTHING (-1) for a row of -infinity or NaN only.

    Args:
        logits: (R, V) float32 contiguous.

    Raises:
        ValueError: logits is something else.
    """
    check_logits(logits)
    chosen = backend_of(logits)
    if chosen is Backend.REFERENCE:
        return argmax_reference(logits)
    out = torch.empty(logits.shape[0], dtype=torch.int64, device=logits.device)
    if chosen is Backend.TRITON:
        _on_gpu().argmax(logits, out)
        return out
    native.compiled().argmax(logits.data_ptr(), out.data_ptr(), *logits.shape, torch.get_num_threads())
    return out


def argmax_reference(values: torch.Tensor) -> torch.Tensor:
    """The lowest index of the maximum, which torch.argmax does not promise."""
    clean = values.nan_to_num(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf)
    top = clean.amax(-1, keepdim=True)
    ids = torch.arange(values.shape[1], device=values.device)
    lowest = torch.where(clean == top, ids, values.shape[1]).amin(-1)
    return torch.where(top.squeeze(-1) > -torch.inf, lowest, NOTHING)


def philox_uniform_reference(
    seeds: torch.Tensor, sequence: torch.Tensor, position: torch.Tensor, purpose: int, n: int
) -> torch.Tensor:
    """Philox in 64-bit integer arithmetic: a product of two words wraps, and masks take its halves."""
    counter = torch.arange((n + 3) // 4, device=seeds.device)
    words = philox_words_reference(
        [x.unsqueeze(-1) & WORD for x in (seeds, seeds >> 32)],
        [counter.expand(seeds.shape[0], -1), *(x.unsqueeze(-1) & WORD for x in (position, sequence)),
         torch.full((1, 1), purpose, device=seeds.device)],
    )  # fmt: skip
    flat = torch.stack(words, dim=-1).flatten(1)[:, :n]
    return ((flat >> 9) * 2 + 1).float() * 2.0**-24


def philox_words_reference(key: list[torch.Tensor], counter: list[torch.Tensor]) -> list[torch.Tensor]:
    """The four output words of Philox4x32-10 for int64 tensors that hold 32-bit words."""
    (k0, k1), (a, b, c, d) = key, torch.broadcast_tensors(*counter)
    for _ in range(10):
        p, q = a * 0xD2511F53, c * 0xCD9E8D57
        a, b, c, d = ((q >> 32) & WORD) ^ b ^ k0, q & WORD, ((p >> 32) & WORD) ^ d ^ k1, p & WORD
        k0, k1 = (k0 + 0x9E3779B9) & WORD, (k1 + 0xBB67AE85) & WORD
    return [a, b, c, d]


def check_logits(logits: torch.Tensor) -> None:
    """Rows to draw from.

    Raises:
        ValueError: they are something else.
    """
    if logits.dim() != 2 or logits.shape[1] == 0 or logits.dtype is not torch.float32 or not logits.is_contiguous():
        raise ValueError(f"logits must be a contiguous, non-empty (R, V) float32, got {describe(logits)}")


def _check_streams(seeds: torch.Tensor, sequence: torch.Tensor, position: torch.Tensor, purpose: int) -> None:
    shape = (seeds.numel(),)
    check_index("seeds", seeds, shape, torch.int64, seeds)
    check_index("sequence", sequence, shape, torch.int64, seeds)
    check_index("position", position, shape, torch.int64, seeds)
    if not 0 <= purpose <= WORD:
        raise ValueError(f"purpose must be in [0, 2^32), got {purpose}")


def _on_gpu() -> ModuleType:
    from aphrodite_kernels.gpu import sample

    return sample


def _case(rows: int, vocab: int) -> Case:
    def make(device: torch.device, dtype: torch.dtype, generator: torch.Generator) -> dict[str, object]:
        seeds = torch.randint(-(2**62), 2**62, (rows,), generator=generator).to(device)
        place = torch.arange(rows, device=device)
        return {"seeds": seeds, "sequence": place, "position": place * 7, "purpose": 3, "n": vocab}

    def truth(**inputs: torch.Tensor) -> torch.Tensor:
        cpu = {name: x.cpu() if isinstance(x, torch.Tensor) else x for name, x in inputs.items()}
        return philox_uniform_reference(**cpu).double()  # type: ignore[arg-type]

    return Case(
        f"R{rows}_V{vocab}", make, philox_uniform, truth, 0, 30 * rows * vocab, 0.0, fixed_bytes=4 * rows * vocab
    )


def _draw_case(rows: int, vocab: int) -> Case:
    def make(device: torch.device, dtype: torch.dtype, generator: torch.Generator) -> dict[str, object]:
        place = torch.arange(rows, device=device)
        logits = (3 * torch.randn(rows, vocab, generator=generator)).to(device)
        return {"logits": logits, "seeds": place + 2**40, "sequence": place, "position": place * 7, "purpose": 0}

    def truth(logits: torch.Tensor, **streams: torch.Tensor) -> torch.Tensor:
        cpu = {name: x.cpu() if isinstance(x, torch.Tensor) else x for name, x in streams.items()}
        noise = -(-philox_uniform_reference(n=vocab, **cpu).double().log()).log()  # type: ignore[arg-type]
        return (logits.double().cpu() + noise).argmax(1)

    return Case(
        f"draw_R{rows}_V{vocab}", make, gumbel_argmax, truth, 0, 60 * rows * vocab, 0.0, fixed_bytes=4 * rows * vocab
    )


CASES = tuple(_case(rows, vocab) for rows, vocab in ((1, 1), (3, 61), (2, 64), (5, 1003)))
LARGE = (_case(32, 151936), _draw_case(1, 151936), _draw_case(32, 151936))
