"""Rotary position embedding in place, with the per-head RMS norm that Qwen3 puts before it. T tokens, D head size."""

from __future__ import annotations

import torch

from aphrodite_kernels import native
from aphrodite_kernels.case import Case
from aphrodite_kernels.checks import check_heads, check_index, check_like, describe
from aphrodite_kernels.dispatch import Backend, backend_of

MAX_HEAD_DIM = 1024


def rope(
    q: torch.Tensor,
    k: torch.Tensor,
    positions: torch.Tensor,
    cos_sin: torch.Tensor,
    q_norm: torch.Tensor | None = None,
    k_norm: torch.Tensor | None = None,
    eps: float = 1e-6,
) -> None:
    """Turn q and k in place by their positions (half-rotation style, as Llama and NeoX do), in float32, rounded once.

    Args:
        q: (T, Hq, D), k: (T, Hkv, D): views of a packed row are fine (any row stride, heads side by side).
        positions: (T,) int64, each below cos_sin's length; not checked.
        cos_sin: (max_position, R) float32: R/2 cosines, then R/2 sines; the first R of D elements are turned.
        q_norm, k_norm: (D,) weights of an RMS norm of each head before the rotation; both or neither.
        eps: of that norm.

    Raises:
        ValueError: a shape, dtype or device does not fit.
    """
    _check(q, k, positions, cos_sin, q_norm, k_norm)
    chosen = backend_of(q)
    if chosen is Backend.REFERENCE:
        q.copy_(rope_reference(q, positions, cos_sin, q_norm, eps))
        k.copy_(rope_reference(k, positions, cos_sin, k_norm, eps))
    elif chosen is Backend.NATIVE:
        _rope_native(q, k, positions, cos_sin, q_norm, k_norm, eps)
    else:
        from aphrodite_kernels.gpu import rope as on_gpu

        on_gpu.rope(q, k, positions, cos_sin, q_norm, k_norm, eps)


def rope_reference(
    x: torch.Tensor, positions: torch.Tensor, cos_sin: torch.Tensor, norm: torch.Tensor | None, eps: float
) -> torch.Tensor:
    """One of q and k, turned."""
    wide = x.float().contiguous()
    if norm is not None:
        wide = wide * torch.rsqrt(wide.square().sum(-1, keepdim=True) / x.shape[2] + eps) * norm.float()
    half = cos_sin.shape[1] // 2
    cos, sin = cos_sin[positions].unsqueeze(1).split(half, dim=-1)
    first, second, rest = wide[..., :half], wide[..., half : 2 * half], wide[..., 2 * half :]
    return torch.cat([first * cos - second * sin, second * cos + first * sin, rest], dim=-1).to(x.dtype)


def _check(
    q: torch.Tensor,
    k: torch.Tensor,
    positions: torch.Tensor,
    cos_sin: torch.Tensor,
    q_norm: torch.Tensor | None,
    k_norm: torch.Tensor | None,
) -> None:
    check_heads("q", q)
    check_heads("k", k)
    tokens, _, dim = q.shape
    if k.shape[0] != tokens or k.shape[2] != dim or k.dtype is not q.dtype or k.device != q.device:
        raise ValueError(f"k must be ({tokens}, Hkv, {dim}) like q, got q {describe(q)}, k {describe(k)}")
    if dim > MAX_HEAD_DIM:
        raise ValueError(f"the head size may be at most {MAX_HEAD_DIM}, got q {describe(q)}")
    check_index("positions", positions, (tokens,), torch.int64, q)
    rot = cos_sin.shape[-1]
    if cos_sin.dim() != 2 or cos_sin.dtype is not torch.float32 or rot > dim or rot % 2 or not cos_sin.is_contiguous():
        raise ValueError(f"cos_sin must be a contiguous (max_position, R <= {dim}) float32, got {describe(cos_sin)}")
    if (q_norm is None) is not (k_norm is None):
        raise ValueError("q_norm and k_norm must be given together")
    if q_norm is not None and k_norm is not None:
        check_like("q_norm", q_norm, (dim,), q)
        check_like("k_norm", k_norm, (dim,), q)


def _rope_native(
    q: torch.Tensor,
    k: torch.Tensor,
    positions: torch.Tensor,
    cos_sin: torch.Tensor,
    q_norm: torch.Tensor | None,
    k_norm: torch.Tensor | None,
    eps: float,
) -> None:
    tokens, q_heads, dim = q.shape
    native.compiled().rope(
        q.data_ptr(), q.stride(0), q_heads, k.data_ptr(), k.stride(0), k.shape[1], native.DTYPE_CODES[q.dtype],
        tokens, dim, cos_sin.shape[1], positions.data_ptr(), cos_sin.data_ptr(),
        None if q_norm is None else q_norm.data_ptr(), None if k_norm is None else k_norm.data_ptr(), eps,
        torch.get_num_threads(),
    )  # fmt: skip


def _case(tokens: int, q_heads: int, kv_heads: int, dim: int, rot: int, with_norm: bool) -> Case:
    def make(device: torch.device, dtype: torch.dtype, generator: torch.Generator) -> dict[str, object]:
        qkv = torch.randn(tokens, (q_heads + 2 * kv_heads) * dim, generator=generator).to(device, dtype)
        angle = torch.rand(97, rot // 2, generator=generator) * 6
        weights = (1 + 0.1 * torch.randn(2, dim, generator=generator)).to(device, dtype)
        return {
            "qkv": qkv,
            "positions": torch.randint(0, 97, (tokens,), generator=generator).to(device),
            "cos_sin": torch.cat([angle.cos(), angle.sin()], -1).to(device),
            "norms": (weights[0].contiguous(), weights[1].contiguous()) if with_norm else (None, None),
        }

    def heads(qkv: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        packed = qkv.view(tokens, q_heads + 2 * kv_heads, dim)
        return packed[:, :q_heads], packed[:, q_heads : q_heads + kv_heads]

    def run(qkv: torch.Tensor, positions: torch.Tensor, cos_sin: torch.Tensor, norms: tuple) -> torch.Tensor:
        q, k = heads(qkv)
        rope(q, k, positions, cos_sin, *norms)
        return qkv

    def truth(qkv: torch.Tensor, positions: torch.Tensor, cos_sin: torch.Tensor, norms: tuple) -> torch.Tensor:
        out = qkv.double().cpu()
        for x, norm in zip(heads(out), norms, strict=True):
            if norm is not None:
                x.mul_(torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)).mul_(norm.double().cpu())
            turn = torch.view_as_complex(cos_sin.double().cpu()[positions.cpu()].view(tokens, 2, -1).mT.contiguous())
            pairs = torch.view_as_complex(x[..., :rot].unflatten(-1, (2, rot // 2)).mT.contiguous())
            x[..., :rot] = torch.view_as_real(pairs * turn.unsqueeze(1)).mT.flatten(-2)
        return out

    name = f"T{tokens}_H{q_heads}x{kv_heads}_D{dim}_R{rot}{'_norm' if with_norm else ''}"
    size = tokens * (q_heads + kv_heads) * dim
    return Case(name, make, run, truth, 8 * size, 6 * size, 2e-7)  # a few float32 roundings


CASES = (
    _case(1, 16, 8, 128, 128, with_norm=True),
    _case(7, 4, 2, 16, 16, with_norm=False),
    _case(5, 3, 1, 80, 32, with_norm=False),
    _case(33, 4, 4, 64, 64, with_norm=True),
    _case(3, 2, 1, 8, 8, with_norm=True),
)
LARGE = tuple(_case(tokens, 16, 8, 128, 128, with_norm=True) for tokens in (1, 64, 4096))
