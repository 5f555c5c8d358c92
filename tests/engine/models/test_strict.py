"""What makes transformers' modules treat each row alike, and the proof at load that refuses what does not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from aphrodite_engine.errors import UnsupportedModelError
from aphrodite_engine.models import strict
from aphrodite_engine.models.base import LoadOptions
from aphrodite_engine.models.probe import check_faithful
from aphrodite_engine.models.strict import StrictMode
from tests.engine.models.conftest import Checkpoint, LoadedDecoder
from tests.engine.models.harness import CPU

FUNCTIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "silu": F.silu,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "sigmoid": torch.sigmoid,
    "sigmoid method": lambda x: x.sigmoid(),
    "softplus": F.softplus,
    "mish": F.mish,
    "tanh": torch.tanh,
}


@pytest.mark.parametrize("threads", [1, 3, 5])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_element_wise_functions_do_not_depend_on_place(name: str, threads: int) -> None:
    function, before = FUNCTIONS[name], torch.get_num_threads()
    # 100 columns: rows end inside a vector, and threads split in the middle of rows.
    x = 3 * torch.randn(500, 100, generator=torch.Generator().manual_seed(0))
    torch.set_num_threads(threads)
    try:
        with StrictMode():
            whole = function(x)
            parts = [function(x[start:stop].clone()) for start, stop in ((0, 1), (1, 8), (8, 100), (100, 500))]
        assert torch.equal(torch.cat(parts), whole)
        torch.testing.assert_close(whole, function(x), atol=2e-6, rtol=2e-6)
    finally:
        torch.set_num_threads(before)


SUMS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "mean": lambda x: x.pow(2).mean(-1, keepdim=True),
    "sum": lambda x: torch.sum(x, dim=-1),
    "of halves": lambda x: x.bfloat16().mean(1, dtype=torch.float32),
    "of one": lambda x: x[:, :1].sum(-1),
    "of columns": lambda x: x.sum(0),
    "of all": lambda x: x.mean(),
}


@pytest.mark.parametrize("name", SUMS)
def test_sums_along_a_row_are_added_by_halves(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on CUDA; sums over other dimensions stay torch's."""
    monkeypatch.setattr(strict, "_shares_sums", torch.is_floating_point)
    x = torch.randn(50, 100, generator=torch.Generator().manual_seed(0))
    with StrictMode():
        whole = SUMS[name](x)
        assert (x > 0).sum(-1).dtype is torch.int64
        if "of all" not in name and "columns" not in name:
            assert torch.equal(torch.cat([SUMS[name](x[row : row + 1]) for row in range(50)]), whole)
    expected = SUMS[name](x)
    assert whole.shape == expected.shape
    torch.testing.assert_close(whole, expected)


def test_linear_layers_run_packed_and_hold_one_weight() -> None:
    layer = torch.nn.Linear(24, 10)
    x = torch.randn(3, 5, 24, generator=torch.Generator().manual_seed(0))
    expected = layer(x)
    mode = StrictMode.over(layer)
    assert layer.weight.numel() == 0
    with mode, torch.inference_mode():
        torch.testing.assert_close(layer(x), expected)
        assert torch.equal(layer(x[1:2, :1]), layer(x)[1:2, :1])


@pytest.mark.parametrize(
    "product",
    [
        lambda x: x @ x.T,
        lambda x: torch.matmul(x, x.T),
        lambda x: torch.einsum("ij,kj->ik", x, x),
        lambda x: F.linear(x, x),
    ],
)
def test_products_that_can_not_be_packed_are_refused(product: Callable[[torch.Tensor], torch.Tensor]) -> None:
    with StrictMode(), pytest.raises(UnsupportedModelError, match=r"depends on the batch|can't be packed"):
        product(torch.randn(4, 4))


def test_outer_products_are_left_alone() -> None:
    with StrictMode():
        assert (torch.ones(2, 3, 1) @ torch.ones(2, 1, 4)).shape == (2, 3, 4)


class _Changed:
    """A decoder whose hidden states are not what they should be."""

    def __init__(self, decoder: object, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self._decoder, self._change = decoder, change

    def __getattr__(self, name: str) -> object:
        return getattr(self._decoder, name)

    def forward(self, *arguments: object) -> torch.Tensor:
        return self._change(self._decoder.forward(*arguments))  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda hidden: hidden + hidden.roll(1, 0), "its own forward differs by"),
        (lambda hidden: hidden * (1 + 1e-6 * len(hidden)), "a token's bits depend on its batch"),
    ],
)
def test_the_probe_refuses_a_model_that_computes_something_else(
    checkpoint: Checkpoint, decoder: LoadedDecoder, change: Callable[[torch.Tensor], torch.Tensor], reason: str
) -> None:
    from aphrodite_engine.models.probe import probe_rows, probe_tokens
    from tests.engine.models.checkpoints import reference

    ours = decoder("gemma2", torch.float32)
    tokens = probe_tokens(ours.config)
    with torch.inference_mode():
        eager = reference(checkpoint("gemma2"))(torch.tensor([tokens])).logits[0][probe_rows(tokens)]
    options = LoadOptions(CPU, torch.float32)
    check_faithful(ours, eager, eager, options)
    with pytest.raises(UnsupportedModelError, match=f"Gemma2ForCausalLM can't run here: {reason}"):
        check_faithful(_Changed(ours, change), eager, eager, options)  # type: ignore[arg-type]
