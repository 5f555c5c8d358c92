"""Proof, at load, that a universal model computes what its author's code computes, and the same in any batch."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import torch

from aphrodite_engine.errors import UnsupportedModelError
from aphrodite_engine.models.base import Decoder, KVTensors, LoadOptions, ModelConfig
from aphrodite_engine.running.batch import BatchEntry, build_batch
from aphrodite_kernels.kv_store import allocate_kv

NUM_TOKENS = 40
#: Logits are compared for every fourth token: with a large vocabulary they are what the proof takes in memory.
_ROWS_APART = 4
_BLOCK_SIZE = 16
_BLOCKS_EACH = 3
#: How much more than one rounding of the embeddings our roundings may move the logits, and what is always allowed. In
#: bfloat16 a model of 8 random layers moved by 19 % for one rounding and differed by 18 % from itself in float32.
_NOISE_FACTOR = 4.0
_FLOOR = 1e-3


def probe_tokens(config: ModelConfig) -> list[int]:
    """Ids to probe with: fixed, spread over the vocabulary, as many as the model's context holds up to 40."""
    generator = torch.Generator().manual_seed(0)
    count = min(NUM_TOKENS, config.max_position)
    return torch.randint(0, config.vocab_size, (count,), generator=generator).tolist()


def probe_rows(tokens: Sequence[int]) -> list[int]:
    """Those of the tokens, by index and the last among them, whose logits are compared."""
    return list(range((len(tokens) - 1) % _ROWS_APART, len(tokens), _ROWS_APART))


@contextlib.contextmanager
def disturbed(embedding: torch.nn.Module, size: float) -> Iterator[None]:
    """Multiply what the embedding gives by 1 + size * noise, to see how much a model makes of a rounding."""
    generator = torch.Generator().manual_seed(0)

    def disturb(module: torch.nn.Module, inputs: object, output: torch.Tensor) -> torch.Tensor:
        noise = torch.randn(output.shape, generator=generator).to(output.device)
        return (output.float() * (1 + size * noise)).to(output.dtype)

    hook = embedding.register_forward_hook(disturb)
    try:
        yield
    finally:
        hook.remove()


def check_faithful(model: Decoder, eager: torch.Tensor, shaken: torch.Tensor, options: LoadOptions) -> None:
    """Compare the model with its own eager forward, and with itself chunked and in a batch.

    Args:
        eager: the model's own logits of the probe tokens at the probe rows.
        shaken: the same after a disturbance of the embeddings as large as one rounding.

    Raises:
        UnsupportedModelError: they differ, so the model has something that our path does not carry.
    """
    run = _Run(model, options)
    tokens, allowed = probe_tokens(model.config), max(_FLOOR, _NOISE_FACTOR * _difference(shaken, eager))
    rows = probe_rows(tokens)
    try:
        hidden = run.step((tokens, 0, len(tokens), 0))[0]
        alone = model.logits(hidden[rows])
    except UnsupportedModelError as error:
        raise _refusal(model.config, str(error)) from error
    error = _difference(alone, eager)
    if not error <= allowed:
        raise _refusal(model.config, f"its own forward differs by {error:.1%}, roundings explain {allowed:.1%}")
    hidden_again = _in_another_batch(run, tokens)
    again = torch.cat([model.logits(hidden_again[[row]]) for row in rows])
    if options.determinism == "strict" and not (torch.equal(hidden, hidden_again) and torch.equal(alone, again)):
        raise _refusal(model.config, "a token's bits depend on its batch; determinism='fast' allows that")
    if not _difference(alone, again) <= allowed:
        raise _refusal(model.config, "it keeps state between tokens that is not in its attention")


def _in_another_batch(run: _Run, tokens: Sequence[int]) -> torch.Tensor:
    """Hidden states of the same tokens as one, then the rest but one, then one, each beside another sequence."""
    other = list(reversed(tokens))
    edges = (0, 1, len(tokens) - 1, len(tokens))
    steps = [((other, n, n + 1, 1), (tokens, edges[n], edges[n + 1], 2)) for n in range(3)]
    return torch.cat([run.step(*work)[1] for work in steps])


def _difference(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """Median over tokens of the relative distance of logits, which mean the same with any constant added."""
    ours, theirs = (logits - logits.mean(-1, keepdim=True) for logits in (ours, theirs))
    return float(((ours - theirs).norm(dim=-1) / theirs.norm(dim=-1).clamp_min(1e-6)).median())


class _Run:
    """The model with a small cache: three sequences of up to 48 tokens."""

    def __init__(self, model: Decoder, options: LoadOptions) -> None:
        self._model, self._device = model, options.device
        layers = [
            allocate_kv(3 * _BLOCKS_EACH, _BLOCK_SIZE, spec.num_kv_heads, spec.head_dim, options.dtype, options.device)
            for spec in model.config.kv_layers
        ]
        self._kv = KVTensors(_BLOCK_SIZE, layers)

    def step(self, *work: tuple[Sequence[int], int, int, int]) -> list[torch.Tensor]:
        """Hidden states of tokens `start` to `stop` of each (tokens, start, stop, place in the cache)."""
        entries = []
        for tokens, start, stop, place in work:
            table = range(place * _BLOCKS_EACH, (place + 1) * _BLOCKS_EACH)
            entries.append(BatchEntry(tokens[start:stop], start, table, 0, range(stop - start)))
        hidden = self._model.forward(build_batch(entries, _BLOCK_SIZE, self._device), self._kv)
        return list(hidden.split([stop - start for _, start, stop, _ in work]))


def _refusal(config: ModelConfig, reason: str) -> UnsupportedModelError:
    return UnsupportedModelError(f"{config.architecture} can't run here: {reason}")
