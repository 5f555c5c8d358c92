"""The smallest set of most likely tokens whose mass reaches a share (arXiv 1904.09751). R rows, V tokens.

No row is sorted. The bits of a float from 0 to 1 order like the number: a histogram of the upper 16 finds the band in
which the mass is reached, and natively one of the lower 16 the very value; the reference sorts that band only. On a GPU
the bits are searched by halving.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from aphrodite_kernels import native
from aphrodite_kernels.case import Case
from aphrodite_kernels.checks import describe
from aphrodite_kernels.dispatch import Backend, backend_of

#: Upper 16 bits of a float32 from 0 to 1, both included.
_NUM_BANDS = 0x3F80 + 1


def nucleus(probabilities: torch.Tensor, mass: torch.Tensor) -> torch.Tensor:
    """(R, V) bool: the tokens to keep. Mass is added up in float64, the token that crosses is kept, at least one is.

    Of equal probabilities at the edge the lower ids are kept. NaN is never kept.

    Args:
        probabilities: (R, V) float32 contiguous, each from 0 to 1.
        mass: (R,) float64.

    Raises:
        ValueError: a shape, dtype or device does not fit.
    """
    if probabilities.dim() != 2 or probabilities.dtype is not torch.float32 or not probabilities.is_contiguous():
        raise ValueError(f"probabilities must be a contiguous (R, V) float32, got {describe(probabilities)}")
    rows, vocab = probabilities.shape
    if mass.shape != (rows,) or mass.dtype is not torch.float64 or mass.device != probabilities.device:
        raise ValueError(f"mass must be ({rows},) float64 on {probabilities.device}, got {describe(mass)}")
    if not vocab:
        raise ValueError(f"probabilities must have at least one token, got {describe(probabilities)}")
    chosen = backend_of(probabilities)
    if chosen is Backend.REFERENCE:
        return nucleus_reference(probabilities, mass)
    keep = torch.empty_like(probabilities, dtype=torch.bool)
    if chosen is Backend.TRITON:
        _nucleus_triton(probabilities, mass.contiguous(), keep)
        return keep
    failed = native.compiled().nucleus(
        probabilities.data_ptr(), mass.contiguous().data_ptr(), keep.data_ptr(), rows, vocab, torch.get_num_threads()
    )
    if failed:
        raise MemoryError(f"no memory for the histograms of {describe(probabilities)}")
    return keep


def nucleus_reference(probabilities: torch.Tensor, mass: torch.Tensor) -> torch.Tensor:
    """The histogram of the upper 16 bits, and a sort of the one band that crosses."""
    asked, missing = mass[:, None], probabilities.isnan()
    probabilities = probabilities.nan_to_num(0.0)
    bands = probabilities.view(torch.int32).bitwise_right_shift(16).long()
    band_mass = torch.zeros(len(bands), _NUM_BANDS + 1, dtype=torch.float64, device=bands.device)
    band_mass.scatter_add_(1, bands, probabilities.double())
    reached = band_mass.flip(1).cumsum(1).flip(1)
    crossing = ((reached >= asked).sum(1, keepdim=True) - 1).clamp(min=0)
    in_band = bands == crossing
    size = max(1, int(in_band.sum(1).max()))
    candidates = torch.topk(torch.where(in_band, probabilities, -1.0), size, dim=1).values
    return _keep_down_to(probabilities, _cut(candidates, reached.gather(1, crossing + 1), asked)) & ~missing


@dataclass(frozen=True)
class _Cut:
    """Where a row's nucleus ends: (R, 1) least probability kept, and how many tokens of exactly that."""

    threshold: torch.Tensor
    num_ties: torch.Tensor


def _cut(candidates: torch.Tensor, above: torch.Tensor, mass: torch.Tensor) -> _Cut:
    """Walk down sorted candidates (R, C), with mass `above` (R, 1) before them, until `mass` (R, 1) is reached."""
    before = above + candidates.double().cumsum(1) - candidates
    inside = (before < mass) & (candidates > 0)
    inside[:, 0] = True
    threshold = candidates.gather(1, inside.sum(1, keepdim=True) - 1)
    return _Cut(threshold, (candidates == threshold).logical_and(inside).sum(1, keepdim=True))


def _keep_down_to(probabilities: torch.Tensor, cut: _Cut) -> torch.Tensor:
    above, tied = probabilities > cut.threshold, probabilities == cut.threshold
    return above | (tied & (tied.cumsum(1) <= cut.num_ties))


def _nucleus_triton(probabilities: torch.Tensor, mass: torch.Tensor, keep: torch.Tensor) -> None:
    from aphrodite_kernels.gpu import nucleus as on_gpu

    on_gpu.nucleus(probabilities, mass, keep)


def _case(rows: int, vocab: int, spread: float) -> Case:
    def make(device: torch.device, dtype: torch.dtype, generator: torch.Generator) -> dict[str, object]:
        logits = spread * torch.randn(rows, vocab, generator=generator)
        mass = torch.linspace(0.1, 0.95, rows, dtype=torch.float64)
        return {"probabilities": logits.softmax(-1).to(device), "mass": mass.to(device)}

    def truth(probabilities: torch.Tensor, mass: torch.Tensor) -> torch.Tensor:
        p = probabilities.double().cpu()
        order = p.argsort(dim=1, descending=True, stable=True)
        before = p.gather(1, order).cumsum(1) - p.gather(1, order)
        keep = before < mass.cpu()[:, None]
        keep[:, 0] = True
        return torch.zeros_like(keep).scatter(1, order, keep).double()

    def run(**inputs: torch.Tensor) -> torch.Tensor:
        return nucleus(**inputs).double()

    return Case(
        f"R{rows}_V{vocab}_s{spread:g}", make, run, truth, 0, 4 * rows * vocab, 0.0, fixed_bytes=5 * rows * vocab
    )


CASES = tuple(
    _case(rows, vocab, spread)
    for rows, vocab, spread in ((1, 1, 1), (3, 2, 1), (5, 61, 4), (2, 64, 0), (7, 4099, 0.1), (4, 32000, 3))
)
LARGE = (_case(1, 151936, 3), _case(32, 151936, 3), _case(32, 151936, 0.1))
