"""bad_words and DRY's breakers, from text to tokens, on the real tokenizer."""

from __future__ import annotations

import pytest

from aphrodite_engine.errors import ParameterError
from aphrodite_engine.llm import LLM
from aphrodite_engine.params import SamplingParams

PROMPT = "Once upon a time"


@pytest.fixture(scope="module")
def llm():
    with LLM("demo") as made:
        yield made


def text(llm: LLM, **fields: object) -> str:
    return llm.generate(PROMPT, SamplingParams.from_fields({"seed": 5, "max_tokens": 40} | fields))[0].text


def test_a_bad_word_does_not_come_also_behind_a_space(llm: LLM) -> None:
    free = text(llm, temperature=0)
    word = next(word for word in free.split() if len(word) > 3).strip(".,")
    limited = text(llm, temperature=0, bad_words=[word])
    assert f" {word}" in f" {free}" and f" {word} " not in f" {limited} "
    assert limited != free


def test_a_phrase_of_several_tokens_is_cut_before_its_last_one_only(llm: LLM) -> None:
    free = text(llm, temperature=0)
    phrase = " ".join(free.split()[:2])
    limited = text(llm, temperature=0, bad_words=[phrase])
    assert phrase not in limited
    assert limited.split()[0] == free.split()[0], "the first word alone is no bad one"


def test_bad_words_that_leave_nothing_are_named(llm: LLM) -> None:
    (letter,) = llm.tokenize("q", add_special_tokens=False)
    with pytest.raises(ParameterError, match=r"bad_words.*no other token is possible"):
        text(llm, bad_words=["q"], allowed_token_ids=[letter])


def test_dry_stops_a_text_from_going_round(llm: LLM) -> None:
    prompt = "one two three four " * 6

    def repeats(**fields: object) -> int:
        params = SamplingParams.from_fields({"temperature": 0, "max_tokens": 40, "ignore_eos": True} | fields)
        ids = list(llm.generate(prompt, params)[0].outputs[0].token_ids)
        grams = list(zip(ids, ids[1:], ids[2:], strict=False))
        return len(grams) - len(set(grams))

    assert repeats(dry_multiplier=5.0, dry_sequence_breakers=[]) < max(1, repeats())
    assert repeats(no_repeat_ngram_size=3) == 0


def test_breakers_end_a_repetition(llm: LLM) -> None:
    """Where every token breaks, going on with a repetition costs nothing."""

    def counted(**fields: object) -> str:
        params = SamplingParams.from_fields({"temperature": 0, "max_tokens": 30, "ignore_eos": True} | fields)
        return llm.generate("one two three four " * 6, params)[0].text

    everything = [*"abcdefghijklmnopqrstuvwxyz .,\n0123456789"]
    strong = {"dry_multiplier": 20.0}
    assert counted(**strong, dry_sequence_breakers=everything) == counted()
    assert counted(**strong, dry_sequence_breakers=[]) != counted()


@pytest.mark.parametrize("fields", [{"mirostat_mode": 2, "mirostat_tau": 2.0}, {"adaptive_target": 0.4}])
def test_what_a_sampler_learned_survives_company(llm: LLM, fields: dict[str, object]) -> None:
    params = SamplingParams.from_fields({"seed": 8, "max_tokens": 30, "n": 3} | fields)
    alone = [output.token_ids for output in llm.generate(PROMPT, params)[0].outputs]
    company = [SamplingParams(seed=i, max_tokens=25, top_p=0.9) for i in range(6)]
    together = llm.generate([PROMPT] * 7, [*company[:3], params, *company[3:]])[3]
    assert [output.token_ids for output in together.outputs] == alone
    assert len({tuple(ids) for ids in alone}) > 1
