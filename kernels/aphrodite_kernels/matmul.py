"""Matmul with a weight packed once: x (M, K) times weight (N, K) transposed, plus bias.

Natively the weight lies in panels of columns, K-major, and each output element is one chain of fused multiply-adds over
k = 0 .. K-1, so a row's result does not depend on the other rows. On a GPU the chain runs in chunks of fixed length
(gpu/matmul.py). The plain-torch reference reaches the same by padding the rows to a multiple of 8 (float32 on the CPU;
on CUDA it promises nothing, and is what `strict=False` takes there).

A quantised weight (int8.py) is a matrix of integers and one scale a column of the result: the chain runs over the
integers, which float32 holds exactly, and is scaled once.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from aphrodite_kernels import native
from aphrodite_kernels.case import Case
from aphrodite_kernels.checks import check_float, check_like, describe
from aphrodite_kernels.dispatch import Backend, backend_of, runs_native
from aphrodite_kernels.int8 import dequantize_rows, quantize_rows
from aphrodite_kernels.zeros import lazy_zeros

REFERENCE_ROWS = 8


class PackedWeight:
    """A weight (N, K) in the layout its matmul wants, with its bias.

    Rows can be written a part at a time (`write`), so that stacking q, k and v never needs a second copy of all three.

    Attributes:
        shape: (N, K).
        dtype, device: of the weight as it is given and looked up.
        scale: (N,) float32 where it is held as int8, else None.
        bias: (N,) float32, or None.
        strict: whether the result for a row must not depend on the other rows.
        panel: columns of a panel; 0 when the weight is kept as it is.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        dtype: torch.dtype,
        device: torch.device | str = "cpu",
        bias: torch.Tensor | None = None,
        strict: bool = True,
        quantized: bool = False,
    ) -> None:
        """Allocate room for a weight; its rows are zero until written.

        Args:
            quantized: hold it as int8, with a scale for each row; rows are rounded as they are written.

        Raises:
            ValueError: dtype is not a float type of ours, or the bias does not fit.
        """
        if dtype not in native.DTYPE_CODES:
            raise ValueError(f"a weight must be float32, bfloat16 or float16, got {dtype}")
        rows, depth = shape
        if bias is not None and bias.shape != (rows,):
            raise ValueError(f"bias must be ({rows},) for a weight {tuple(shape)}, got {describe(bias)}")
        self.shape, self.dtype, self.strict = (rows, depth), dtype, strict
        probe = torch.empty(0, device=device)
        self.device = probe.device  # as tensors name it: "cuda" is none of theirs, "cuda:0" is
        self.bias = None if bias is None else bias.to(self.device, torch.float32).contiguous()
        self.panel: int = native.compiled().panel() if runs_native(probe) else 0
        stored = (-(-rows // self.panel), depth, self.panel) if self.panel else (rows, depth)
        self.scale = torch.zeros(rows, dtype=torch.float32, device=self.device) if quantized else None
        self._data = lazy_zeros(stored, torch.int8 if quantized else dtype, self.device)
        self._plain_bias = None if self.bias is None else self.bias.to(dtype)

    @property
    def nbytes(self) -> int:
        """Bytes held, padding, scales and bias included."""
        return self._data.nbytes + sum(part.nbytes for part in (self.scale, self.bias) if part is not None)

    def tensors(self) -> list[torch.Tensor]:
        """All that it holds on its device."""
        held = (self._data, self.scale, self.bias, self._plain_bias)
        return [tensor for tensor in held if tensor is not None]

    @property
    def stored_dtype(self) -> torch.dtype:
        """Of the numbers in memory: int8 where it is quantised, else dtype."""
        return self._data.dtype

    @property
    def addresses(self) -> tuple[int, int | None, int | None]:
        """Where packed weight, scales and bias lie, for C code that multiplies by it; None for what is not there."""
        scale, bias = (None if part is None else part.data_ptr() for part in (self.scale, self.bias))
        return self._data.data_ptr(), scale, bias

    def write(self, first_row: int, weight: torch.Tensor) -> None:
        """Fill rows first_row .. first_row + len(weight); the weight can be freed afterwards.

        Raises:
            ValueError: the rows do not fit, or the dtype differs.
        """
        rows, depth = self.shape
        if weight.dim() != 2 or weight.shape[1] != depth or not 0 <= first_row <= rows - weight.shape[0]:
            raise ValueError(f"rows {first_row}.. of a weight {self.shape} cannot take {describe(weight)}")
        if weight.dtype is not self.dtype:
            raise ValueError(f"the weight is {self.dtype}, got {describe(weight)}")
        if self.scale is not None:
            weight, scale = quantize_rows(weight.detach().to(self.device))
            self.scale[first_row : first_row + weight.shape[0]] = scale
        if not self.panel:
            self._data[first_row : first_row + weight.shape[0]].copy_(weight)
            return
        source = weight.detach().to(self.device).contiguous()
        native.compiled().pack_rows(
            source.data_ptr(), self._data.data_ptr(), first_row, source.shape[0], depth, source.element_size(),
            torch.get_num_threads(),
        )  # fmt: skip

    def rows(self, ids: torch.Tensor) -> torch.Tensor:
        """Rows of the weight: an embedding lookup, so that tied embeddings are stored once.

        Args:
            ids: (T,) int64.

        Returns:
            (T, K) in the weight's dtype.

        Raises:
            ValueError: ids is not a 1-D int64 tensor on the weight's device.
            IndexError: an id is not below N (on the CPU; CUDA raises its own device assertion).
        """
        if ids.dim() != 1 or ids.dtype is not torch.int64 or ids.device != self.device:
            raise ValueError(f"ids must be (T,) int64 on {self.device}, got {describe(ids)}")
        stored = self._stored_rows(ids)
        return stored if self.scale is None else dequantize_rows(stored, self.scale[ids], self.dtype)

    def _stored_rows(self, ids: torch.Tensor) -> torch.Tensor:
        if not self.panel:
            return torch.index_select(self._data, 0, ids)
        ids = ids.contiguous()
        out = torch.empty((ids.shape[0], self.shape[1]), dtype=self._data.dtype)
        bad = native.compiled().weight_rows(
            self._data.data_ptr(), ids.data_ptr(), out.data_ptr(), ids.shape[0], *self.shape, out.element_size(),
            torch.get_num_threads(),
        )  # fmt: skip
        if bad >= 0:
            raise IndexError(f"id {int(ids[bad])} at index {bad} is not a row of a weight {self.shape}")
        return out

    def unpack(self) -> torch.Tensor:
        """The weight (N, K) as it was given, or as int8 holds it; a copy."""
        stored = self._data.mT.reshape(-1, self.shape[1])[: self.shape[0]] if self.panel else self._data
        return stored.clone() if self.scale is None else dequantize_rows(stored, self.scale, self.dtype)


def pack(
    weight: torch.Tensor | list[torch.Tensor],
    bias: torch.Tensor | Sequence[torch.Tensor] | None = None,
    strict: bool = True,
    quantized: bool = False,
) -> PackedWeight:
    """Pack a weight, or several stacked along N.

    Args:
        weight: (N, K), or a list of such; a list is emptied as it is packed, so that each part can be freed.
        bias: (N,), or one for each part of the list.
        strict: rows must not depend on each other. False allows what torch does fastest where there is no C kernel;
            where there is one it is faster than torch's product and strict at no cost.
        quantized: hold it as int8.

    Raises:
        ValueError: parts differ in K, dtype or device, or a bias does not fit.
    """
    parts = [weight] if isinstance(weight, torch.Tensor) else weight
    if not parts or any(part.dim() != 2 for part in parts):
        raise ValueError(f"pack needs 2-D weights, got {[tuple(part.shape) for part in parts]}")
    joined = bias if bias is None or isinstance(bias, torch.Tensor) else torch.cat(list(bias))
    rows, first = sum(part.shape[0] for part in parts), parts[0]
    packed = PackedWeight((rows, first.shape[1]), first.dtype, first.device, joined, strict, quantized)
    del first
    start = 0
    while parts:
        part = parts.pop(0)
        packed.write(start, part)
        start += part.shape[0]
    return packed


def matmul(
    x: torch.Tensor,
    weight: PackedWeight,
    out_dtype: torch.dtype | None = None,
    out: torch.Tensor | None = None,
) -> torch.Tensor:
    """x @ weight^T + bias, accumulated in float32 and rounded once.

    Args:
        x: (M, K) contiguous, any of the float types.
        out_dtype: x's dtype when absent; torch.float32 for logits.
        out: (M, N) of that dtype to write into; a new tensor when absent.

    Raises:
        ValueError: a shape, dtype or device does not fit.
    """
    if x.dim() != 2 or x.shape[1] != weight.shape[1] or x.device != weight.device or not x.is_contiguous():
        raise ValueError(f"x must be a contiguous (M, {weight.shape[1]}) on {weight.device}, got {describe(x)}")
    check_float("x", x)
    dtype = out_dtype or x.dtype
    shape = (x.shape[0], weight.shape[0])
    if out is not None:
        check_like("out", out, shape, torch.empty(0, dtype=dtype, device=x.device))
    chosen = _backend(x, weight)
    if chosen is Backend.REFERENCE:
        product = matmul_reference(x, weight, dtype)
        return product if out is None else out.copy_(product)
    if out is None:
        out = torch.empty(shape, dtype=dtype, device=x.device)
    (_matmul_native if chosen is Backend.NATIVE else _matmul_triton)(x, weight, out)
    return out


def _backend(x: torch.Tensor, weight: PackedWeight) -> Backend:
    """What fits the weight's layout; where rows may depend on each other torch's product is the fastest on a GPU."""
    if weight.panel:
        return Backend.NATIVE
    free = not weight.strict and weight.scale is None
    return Backend.TRITON if backend_of(x) is Backend.TRITON and not free else Backend.REFERENCE


def matmul_reference(x: torch.Tensor, weight: PackedWeight, dtype: torch.dtype) -> torch.Tensor:
    """Torch's linear; strict on the CPU: in float32, on rows padded to a multiple of 8.

    MKL picks its kernel by the number of rows; measured for nine shapes up to 512 rows: multiples of 4 all agree.
    """
    plain = weight._data
    if weight.scale is None and (not weight.strict or not x.is_cpu):
        if x.is_cuda and dtype is torch.float32 and plain.dtype is not torch.float32:  # not rounded to half in between
            product = torch.mm(x.to(plain.dtype), plain.T, out_dtype=dtype)
            return product if weight.bias is None else product.add_(weight.bias)
        return torch.nn.functional.linear(x.to(plain.dtype), plain, weight._plain_bias).to(dtype)
    rows = x.shape[0]
    padded = torch.nn.functional.pad(x.float(), (0, 0, 0, -rows % REFERENCE_ROWS))
    product = torch.nn.functional.linear(padded, plain.float())[:rows]
    if weight.scale is not None:
        product *= weight.scale
    return (product if weight.bias is None else product + weight.bias).to(dtype)


def _matmul_native(x: torch.Tensor, weight: PackedWeight, out: torch.Tensor) -> None:
    codes, (data, scale, bias) = native.DTYPE_CODES, weight.addresses
    failed = native.compiled().matmul(
        x.data_ptr(), codes[x.dtype], data, native.WEIGHT_CODES[weight.stored_dtype], scale, bias, out.data_ptr(),
        codes[out.dtype], x.shape[0], *weight.shape, torch.get_num_threads(),
    )  # fmt: skip
    if failed:
        raise MemoryError(f"no memory for the workspace of a matmul of {describe(x)} with {weight.shape}")


def _matmul_triton(x: torch.Tensor, weight: PackedWeight, out: torch.Tensor) -> None:
    from aphrodite_kernels.gpu import matmul as on_gpu

    on_gpu.matmul(x, weight._data, weight.scale, weight.bias, out)


def _case(m: int, n: int, k: int, with_bias: bool = False, quantized: bool = False) -> Case:
    def make(device: torch.device, dtype: torch.dtype, generator: torch.Generator) -> dict[str, object]:
        x = torch.randn(m, k, generator=generator).to(device, dtype)
        plain = torch.randn(n, k, generator=generator).to(device, dtype)
        bias = torch.randn(n, generator=generator).to(device, dtype) if with_bias else None
        return {"x": x, "weight": pack(plain, bias, quantized=quantized)}

    def truth(x: torch.Tensor, weight: PackedWeight) -> torch.Tensor:
        product = x.double().cpu() @ weight.unpack().double().cpu().T
        return product if weight.bias is None else product + weight.bias.double().cpu()

    name = f"M{m}_N{n}_K{k}{'_bias' if with_bias else ''}{'_int8' if quantized else ''}"
    # A chain of K float32 additions: its rounding grows like sqrt(K / 2) * 2^-24 / sqrt(3), relative to the result.
    tolerance = 1e-7 + 1.2e-7 * (k / 2) ** 0.5
    moved, int8 = 4 * m * (n + k) + (0 if quantized else 4 * n * k), n * k if quantized else 0
    return Case(name, make, matmul, truth, moved, 2 * m * n * k, tolerance, fixed_bytes=int8)


CASES = (
    _case(1, 1, 1),
    _case(1, 64, 128),
    _case(1, 257, 61, with_bias=True),
    _case(2, 96, 300),
    _case(3, 31, 512),
    _case(4, 1536, 512),
    _case(5, 33, 7, with_bias=True),
    _case(13, 127, 61),
    _case(32, 256, 1000, with_bias=True),
    _case(61, 300, 257),
    _case(128, 512, 512),
    _case(600, 65, 300),
    _case(1, 257, 61, with_bias=True, quantized=True),
    _case(4, 1536, 512, quantized=True),
    _case(13, 127, 61, quantized=True),
    _case(61, 300, 257, with_bias=True, quantized=True),
)
LARGE = (
    *(_case(m, n, k) for n, k in ((4096, 1024), (1024, 3072), (6144, 4096)) for m in (1, 16, 64, 1024)),
    *(_case(m, 6144, 4096, quantized=True) for m in (1, 64)),
    _case(1, 151936, 1024),
    _case(64, 151936, 1024),
)
