"""The layers of a decoder in one call: the same bits as an op at a time, and the formula's numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch

from aphrodite_kernels import decoder_layers as ops
from aphrodite_kernels.case import Case
from aphrodite_kernels.decoder_layers import DecoderLayers, LayerShape, LayerWeights, decoder_layer
from aphrodite_kernels.kv_store import BLOCK_SIZE, allocate_kv
from aphrodite_kernels.matmul import PackedWeight, pack
from tests.kernels.checking import run_case, same_bits

DTYPES = [torch.float32, torch.bfloat16, torch.float16]
FEATURES, INNER, HEADS, KV_HEADS, DIM = 64, 80, 6, 2, 24


@dataclass(frozen=True)
class Step:
    """Three sequences of 40 slots each, of which some tokens are new."""

    positions: torch.Tensor
    slots: torch.Tensor
    block_tables: torch.Tensor
    query_start: torch.Tensor
    context_len: torch.Tensor


def step(contexts: tuple[int, ...], lengths: tuple[int, ...]) -> Step:
    tables = torch.arange(3 * len(lengths), dtype=torch.int32).flip(0).view(len(lengths), 3)
    parts = [torch.arange(context, context + length) for context, length in zip(contexts, lengths, strict=True)]
    slots = [table[part // BLOCK_SIZE].long() * BLOCK_SIZE + part % BLOCK_SIZE
             for table, part in zip(tables, parts, strict=True)]  # fmt: skip
    starts = torch.tensor([0, *lengths]).cumsum(0).int()
    return Step(torch.cat(parts), torch.cat(slots), tables, starts, torch.tensor(contexts, dtype=torch.int32))


def layers(
    dtype: torch.dtype, generator: torch.Generator, quantized: bool = False, norms: bool = True
) -> DecoderLayers:
    def normal(*size: int) -> torch.Tensor:
        return torch.randn(*size, generator=generator).to(dtype)

    def weight(rows: int, columns: int) -> PackedWeight:
        return pack(normal(rows, columns) * columns**-0.5, None if norms else normal(rows), quantized=quantized)

    angle = 6 * torch.rand(48, DIM // 2, generator=generator)
    shape = LayerShape(HEADS, KV_HEADS, DIM, 1e-6, torch.cat([angle.cos(), angle.sin()], -1))
    made = [
        LayerWeights(
            weight((HEADS + 2 * KV_HEADS) * DIM, FEATURES), weight(FEATURES, HEADS * DIM),
            weight(2 * INNER, FEATURES), weight(FEATURES, INNER),
            *((normal(DIM), normal(DIM)) if norms else (None, None)), normal(FEATURES), normal(FEATURES), window,
        )
        for window in (None, 9, None)
    ]  # fmt: skip
    return DecoderLayers(made, shape)


def caches(dtype: torch.dtype) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [allocate_kv(9, BLOCK_SIZE, KV_HEADS, DIM, dtype) for _ in range(3)]


def one_at_a_time(
    model: DecoderLayers, stream: torch.Tensor, kv: list[tuple[torch.Tensor, torch.Tensor]], place: Step
) -> tuple[torch.Tensor, torch.Tensor]:
    hidden, residual = stream.clone(), stream.clone()
    for layer, (k_cache, v_cache) in zip(model.layers, kv, strict=True):
        hidden = decoder_layer(hidden, residual, layer, model.shape, k_cache, v_cache, place)
    return hidden, residual


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", ops.CASES, ids=lambda case: case.name)
def test_error_against_float64_is_small(
    case: Case, dtype: torch.dtype, backend: str, generator: torch.Generator
) -> None:
    run_case(case, dtype, generator)


@pytest.mark.parametrize("quantized", [False, True], ids=["plain", "int8"])
@pytest.mark.parametrize("norms", [True, False], ids=["norms", "biases"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_one_call_gives_the_bits_of_an_op_at_a_time(
    dtype: torch.dtype, norms: bool, quantized: bool, generator: torch.Generator
) -> None:
    model, ours, theirs = layers(dtype, generator, quantized, norms), caches(dtype), caches(dtype)
    for place in (step((0, 0, 0), (30, 1, 17)), step((30, 1, 17), (1, 1, 1)), step((31, 2, 18), (9, 20, 1))):
        stream = torch.randn(len(place.slots), FEATURES, generator=generator).to(dtype)
        residual = stream.clone()
        hidden = model(stream.clone(), residual, ours, place)
        expected, expected_residual = one_at_a_time(model, stream, theirs, place)
        assert same_bits(hidden, expected)
        assert same_bits(residual, expected_residual)
        for mine, expected_pair in zip(ours, theirs, strict=True):
            assert same_bits(mine[0], expected_pair[0])
            assert same_bits(mine[1], expected_pair[1])


def test_what_does_not_fit_is_named(generator: torch.Generator) -> None:
    model, place = layers(torch.float32, generator), step((0, 0, 0), (1, 1, 1))
    good = torch.zeros(3, FEATURES)
    with pytest.raises(ValueError, match="3 layers need a cache each, got 2"):
        model(good, good.clone(), caches(torch.float32)[:2], place)
    with pytest.raises(ValueError, match=r"residual must be \(3, 64\)"):
        model(good, torch.zeros(2, FEATURES), caches(torch.float32), place)
    with pytest.raises(ValueError, match=r"slots must be \(3,\)"):
        model(good, good.clone(), caches(torch.float32), replace(place, slots=place.slots[:2]))
    with pytest.raises(ValueError, match="cache"):
        model(good, good.clone(), caches(torch.bfloat16), place)
    first = model.layers[0]
    with pytest.raises(ValueError, match=r"layer 1: down must be \(64, 80\)"):
        DecoderLayers([first, replace(first, down=pack(torch.zeros(FEATURES + 1, INNER)))], model.shape)
    with pytest.raises(ValueError, match="layer 0: q_norm and k_norm must be given together"):
        DecoderLayers([replace(first, q_norm=None)], model.shape)
