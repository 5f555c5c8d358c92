"""Both paths of decoders against transformers' own forward, and bit for bit against themselves in other batches."""

from __future__ import annotations

import pytest
import torch

from tests.engine.inside import DEVICE
from tests.engine.models.checkpoints import FAST, UNIVERSAL, reference
from tests.engine.models.conftest import Checkpoint, LoadedDecoder
from tests.engine.models.harness import Harness, Line, load, prompt

KINDS = [*FAST, *UNIVERSAL]
QUICK = ("llama", "gpt2")
HALF_KINDS = ["llama", "qwen3", "gemma2", "qwen3_moe"]
HALVES = [torch.bfloat16, torch.float16]
STEPS = 128


def _marked(kinds: list[str], *more: object) -> list[object]:
    """Cases for each of these kinds; `make check` looks at one of each path."""
    return [pytest.param(kind, *more, marks=() if kind in QUICK else pytest.mark.slow) for kind in kinds]


@torch.inference_mode()
def _reference_logits(checkpoint: Checkpoint, kind: str, tokens: list[int]) -> torch.Tensor:
    return reference(checkpoint(kind))(torch.tensor([tokens])).logits[0]


@pytest.mark.parametrize("kind", _marked(KINDS))
def test_greedy_in_a_mixed_batch_agrees_with_transformers(
    checkpoint: Checkpoint, decoder: LoadedDecoder, kind: str
) -> None:
    harness = Harness(decoder(kind, torch.float32))
    assert harness.decoder.config.path == ("fast" if kind in FAST else "universal")
    first = harness.line(prompt(40, seed=1), room=STEPS)
    harness.step((first, 40))
    first.tokens.append(int(first.logits[-1][-1].argmax()))
    shared = harness.line(first.tokens[:33] + prompt(9, seed=2), room=STEPS, prefix_of=first)
    other = harness.line(prompt(21, seed=3), room=STEPS)
    assert shared.table[:2] == first.table[:2] and shared.computed == 32
    harness.greedy((first, shared, other), STEPS, chunk=5)
    for line in (first, shared, other):
        expected = _reference_logits(checkpoint, kind, line.tokens[: line.computed])
        ours = torch.cat(line.logits)
        assert line.computed == len(line.tokens) - 1 >= STEPS + 20
        # Greedy tokens are equal if each is the most likely one after the same beginning.
        assert expected[-STEPS:].argmax(-1).tolist() == line.tokens[-STEPS:]
        torch.testing.assert_close(ours, expected[-len(ours) :], atol=1e-4, rtol=0)


def _pieces(harness: Harness, tokens: list[int]) -> Line:
    """The sequence in chunks of several sizes, each beside one or two other sequences."""
    line, beside, third = harness.line(tokens), harness.line(prompt(60, seed=8)), harness.line(prompt(50, seed=9))
    harness.step((beside, 7), (line, 1))
    harness.step((line, 20), (third, 1), (beside, 1))
    harness.step((third, 2), (line, len(tokens) - 22), (beside, 33))
    harness.step((line, 1))
    return line


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [*_marked(KINDS, torch.float32), *(case for dtype in HALVES for case in _marked(HALF_KINDS, dtype))],
    ids=str,
)
def test_a_tokens_bits_do_not_depend_on_its_batch(decoder: LoadedDecoder, kind: str, dtype: torch.dtype) -> None:
    tokens = prompt(70, seed=4)
    harness = Harness(decoder(kind, dtype), dtype)
    whole = harness.line(tokens)
    harness.step((whole, len(tokens)))
    alone = torch.cat(whole.logits)
    assert torch.equal(torch.cat(_pieces(harness, tokens).logits), alone)
    cached = harness.line(tokens[:64], prefix_of=whole)
    assert cached.computed == 63 and cached.first_stored == 64
    rest = harness.line(tokens, prefix_of=whole)
    harness.step((rest, 6), (cached, 1))
    assert torch.equal(rest.logits[0], alone[64:]) and torch.equal(cached.logits[0][0], alone[63])


@pytest.mark.skipif(DEVICE.type != "cpu", reason="threads compute on the CPU only")
@pytest.mark.parametrize("kind", ["llama", "gemma2", "qwen3_moe"])
@pytest.mark.parametrize("threads", [2, 3])
def test_bits_hold_with_several_threads(decoder: LoadedDecoder, kind: str, threads: int) -> None:
    tokens, before = prompt(70, seed=5), torch.get_num_threads()
    harness = Harness(decoder(kind, torch.float32))
    torch.set_num_threads(threads)
    try:
        assert torch.equal(torch.cat(_pieces(harness, tokens).logits), harness.whole(tokens))
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("kind", HALF_KINDS)
def test_half_precision_stays_near_float32(
    checkpoint: Checkpoint, decoder: LoadedDecoder, kind: str, dtype: torch.dtype
) -> None:
    tokens = prompt(50, seed=6)
    harness = Harness(decoder(kind, dtype), dtype)
    expected = _reference_logits(checkpoint, kind, tokens)
    error = (harness.whole(tokens) - expected).abs().median() / expected.abs().mean()
    # Two layers of weights of spread 0.2: bfloat16 keeps 8 bits, float16 keeps 11.
    assert error < (0.05 if dtype == torch.bfloat16 else 0.01)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "mixtral"])
def test_fast_determinism_agrees_too(checkpoint: Checkpoint, kind: str) -> None:
    tokens = prompt(50, seed=7)
    harness = Harness(load(checkpoint(kind), determinism="fast", device=DEVICE))
    expected = _reference_logits(checkpoint, kind, tokens)
    torch.testing.assert_close(harness.whole(tokens), expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(torch.cat(_pieces(harness, tokens).logits), expected, atol=1e-4, rtol=0)


def test_two_decoders_keep_apart(decoder: LoadedDecoder) -> None:
    tokens = prompt(30, seed=10)
    one, two = (Harness(decoder(kind, torch.float32)) for kind in ("gemma2", "olmo2"))
    alone = one.whole(tokens), two.whole(tokens)
    lines = one.line(tokens), two.line(tokens)
    for start in range(0, 30, 10):
        assert lines[0].computed == start
        one.step((lines[0], 10))
        two.step((lines[1], 10))
    assert torch.equal(torch.cat(lines[0].logits), alone[0])
    assert torch.equal(torch.cat(lines[1].logits), alone[1])
