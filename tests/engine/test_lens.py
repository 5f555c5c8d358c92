"""The logit lens: norm and head at every layer, the model's own distribution at the last."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from aphrodite_engine.errors import ParameterError
from aphrodite_engine.inside.lens import ROWS_AT_ONCE, Lens
from aphrodite_engine.llm import LLM
from aphrodite_engine.params import SamplingParams
from tests.engine.inside import engine_of, logits_of
from tests.engine.models.checkpoints import reference, write_checkpoint
from tests.engine.tiny import VOCAB

pytestmark = pytest.mark.slow

IDS = [5 + (7 * place) % 100 for place in range(40)]
COLUMNS = ["layer", "position", "token", "rank", "token_id", "token_text", "probability", "entropy_nats"]


@pytest.fixture(scope="module")
def chunked(tiny_folder: Path) -> Iterator[LLM]:
    with LLM(tiny_folder, max_num_batched_tokens=7) as llm:
        yield llm


def one(llm: LLM, prompt: list[int] | str, **more: object) -> Lens:
    lens = llm.lens(prompt, **more)  # type: ignore[arg-type]
    assert isinstance(lens, Lens)
    return lens


def same(first: Lens, second: Lens) -> bool:
    names = ("top_ids", "top_probabilities", "entropy", "followed_probability", "followed_rank")
    return all(np.array_equal(getattr(first, name), getattr(second, name)) for name in names)


def test_the_last_layer_is_the_models_own_distribution(tiny: LLM) -> None:
    lens, logprobs = one(tiny, IDS, top=VOCAB), torch.log_softmax(logits_of(tiny, IDS), 1)
    expected = logprobs.gather(1, torch.from_numpy(lens.top_ids[-1])).exp()
    assert np.array_equal(lens.top_probabilities[-1], expected.numpy())
    assert np.array_equal(lens.top_ids[-1, :, 0], logprobs.argmax(1).numpy())
    params = SamplingParams(temperature=0, max_tokens=1, logprobs=3)
    told = tiny.generate(IDS, params)[0].outputs[0].logprobs
    assert told is not None
    assert lens.top_ids[-1, -1, :3].tolist() == list(told[0])[:3]
    drawn = next(iter(told[0].values()))
    assert lens.entropy[-1, -1] == drawn.entropy
    assert lens.top_probabilities[-1, -1, 0] == pytest.approx(np.exp(drawn.logprob), rel=1e-6)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "opt", pytest.param("gemma2", marks=pytest.mark.slow)])
@torch.inference_mode()
def test_every_layer_is_norm_and_head_of_its_state(tmp_path: Path, kind: str) -> None:
    folder = write_checkpoint(tmp_path, kind)
    model = reference(folder)
    hidden = model(torch.tensor([IDS]), output_hidden_states=True).hidden_states[1]
    norm = next(
        module for name, module in model.named_modules()
        if name in ("model.norm", "transformer.ln_f", "model.decoder.final_layer_norm")
    )  # fmt: skip
    head = model.get_output_embeddings()
    assert head is not None
    logits = head(norm(hidden))[0]
    if (cap := getattr(model.config, "final_logit_softcapping", None)) is not None:
        logits = cap * torch.tanh(logits / cap)
    expected = torch.softmax(logits, 1)
    with LLM(folder) as llm:
        lens = one(llm, IDS, layers=[0], top=4)
    found = expected.gather(1, torch.from_numpy(lens.top_ids[0]))
    np.testing.assert_allclose(lens.top_probabilities[0], found.numpy(), atol=1e-4)
    np.testing.assert_allclose(lens.top_probabilities[0], expected.topk(4).values.numpy(), atol=1e-4)
    entropy = -(expected.double() * expected.double().log()).sum(1)
    np.testing.assert_allclose(lens.entropy[0], entropy.numpy(), atol=1e-3)


def test_bits_do_not_depend_on_chunks_or_company(tiny: LLM, chunked: LLM) -> None:
    prompts = [IDS, IDS[:3], [9] * 130]  # 130: more rows than are read at once
    assert len(prompts[2]) > 2 * ROWS_AT_ONCE
    alone = [one(tiny, prompt, follow=[7]) for prompt in prompts]
    batched, in_chunks = tiny.lens(prompts, follow=[7]), chunked.lens(prompts, follow=[7])
    assert isinstance(batched, list) and isinstance(in_chunks, list)
    assert all(map(same, batched, alone)) and all(map(same, in_chunks, alone))
    assert same(asyncio.run(tiny.alens(IDS, follow=[7])), alone[0])  # type: ignore[arg-type]


def test_logits_of_a_large_prompt_are_never_all_in_memory(tiny: LLM, monkeypatch: pytest.MonkeyPatch) -> None:
    model, rows = engine_of(tiny).runner.model, []
    logits = model.logits
    monkeypatch.setattr(model, "logits", lambda hidden: rows.append(len(hidden)) or logits(hidden))
    one(tiny, [9] * 150)
    assert max(rows) == ROWS_AT_ONCE and sum(rows) == 2 * 150


def test_the_table_has_a_row_for_every_likely_token(tiny: LLM) -> None:
    lens = one(tiny, "abc", top=2)
    df = lens.df
    assert list(df.columns) == COLUMNS and len(df) == 2 * 4 * 2
    assert set(df["layer"]) == {0, 1} and set(df["rank"]) == {1, 2}
    assert set(df.loc[df["position"] == 1, "token"]) == {"a"}
    first, second = (df.loc[df["rank"] == rank, "probability"].tolist() for rank in (1, 2))
    assert all(likely >= less for likely, less in zip(first, second, strict=True))
    assert repr(lens) == "Lens(2 layers x 4 tokens, 2 likeliest each)"


def test_followed_tokens_are_told_wherever_they_stand(tiny: LLM) -> None:
    lens = one(tiny, "abc", top=VOCAB, follow=["e", 300 % VOCAB])
    followed = lens.followed_df
    assert list(followed.columns) == COLUMNS and len(followed) == 2 * 4 * 2
    assert lens.followed == (ord("e"), 300 % VOCAB) or lens.texts[lens.followed[0]] == "e"
    merged = followed.merge(lens.df, on=["layer", "position", "token_id"], suffixes=("", "_all"))
    assert len(merged) == len(followed)
    assert merged["probability"].tolist() == merged["probability_all"].tolist()
    assert merged["rank"].tolist() == merged["rank_all"].tolist()
    assert len(one(tiny, "abc").followed_df) == 0


def test_it_shows_itself_as_a_table_that_is_safe(tiny: LLM) -> None:
    html = one(tiny, "<b>&\n")._repr_html_()
    assert html.count("<tr>") == 3 and html.count("<td") == 2 * 6
    assert "&lt;" in html and "<b>" not in html and "⏎" in html and "script" not in html
    long = one(tiny, [9] * 100)._repr_html_()
    assert "first 36 positions" in long and long.count("<td") == 2 * 64


@pytest.mark.parametrize("top", [0, -1, VOCAB + 1, 2.0, True, "5"])
def test_top_is_within_the_vocabulary(tiny: LLM, top: object) -> None:
    with pytest.raises(ParameterError, match=r"^top="):
        tiny.lens(IDS, top=top)  # type: ignore[arg-type]


@pytest.mark.parametrize("follow", [["ab"], [""], [VOCAB], [-1], [1.5]])
def test_what_is_no_single_token_cannot_be_followed(tiny: LLM, follow: list[object]) -> None:
    with pytest.raises(ParameterError, match=r"^follow"):
        tiny.lens(IDS, follow=follow)  # type: ignore[arg-type]


@pytest.mark.parametrize(("a", "b"), [(39, 48), (12, 71), (25, 30)])
def test_the_bundled_models_answer_rises_through_the_layers(demo: LLM, a: int, b: int) -> None:
    answer = str(a + b)[0]
    question = [{"role": "user", "content": f"What is {a} + {b}?"}]
    lens = demo.lens(question, follow=[answer])
    assert isinstance(lens, Lens)
    rising = lens.followed_probability[:, -1, 0]
    assert rising[0] < 0.1 and rising[-1] > 0.9
    assert lens.followed_rank[-1, -1, 0] == 1
