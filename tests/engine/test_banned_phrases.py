"""Banned phrases: against a slow model that has no state to rewind, and beside everything else a request may ask."""

from __future__ import annotations

import codecs
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aphrodite_engine.constraints.phrases import folded
from aphrodite_engine.constraints.redraws import MAX_IN_A_ROW
from aphrodite_engine.errors import ParameterError
from aphrodite_engine.llm import LLM
from aphrodite_engine.outputs import CompletionOutput, TokenEvent
from aphrodite_engine.params import MAX_BANNED_PHRASES, MAX_PHRASE_LENGTH, SamplingParams
from aphrodite_engine.sampling.history import TokenHistory
from aphrodite_engine.sampling.pipeline import Drawn, sample
from aphrodite_engine.sampling.row import SamplerRow
from aphrodite_engine.sampling.steps import uses_history, uses_suffixes
from aphrodite_engine.sampling.suffixes import SuffixMatches
from aphrodite_kernels.sample import NOTHING
from tests.engine.inside import DEVICE, all_blocks_free, engine_of, examples, logits_of, needs_llguidance
from tests.engine.strategies import sampling_params
from tests.engine.tiny import EOS, VOCAB

pytestmark = pytest.mark.slow

PROMPT = "Once upon a time"
CHECKED = settings(max_examples=examples(30), suppress_health_check=[HealthCheck.too_slow])
#: Bytes that are no text are frequent in what a random model writes, letters are not.
PHRASES = st.lists(st.sampled_from(["\ufffd\ufffd", *"aeiou", "ab", "\ufffda", "é", "é\ufffd", "\n"]), max_size=4)

# ---- the slow model


def slow(llm: LLM, prompt: Sequence[int], params: SamplingParams, index: int = 0) -> list[Drawn]:
    """The draws that stand: everything is computed from scratch for every single one."""
    stands: list[Drawn] = []
    bans: dict[int, list[int]] = {}
    draws: Counter[int] = Counter()
    shown = 0
    while not is_over(llm, params, stands):
        place = len(stands)
        drawn = draw(llm, prompt, params, index, stands, tuple(bans.get(place, ())), draws[place])
        assert drawn.token_id != NOTHING, "nothing is possible"
        draws[place] += 1
        stands.append(drawn)
        start = token_of_a_phrase(llm, params, stands)
        if start is None:
            shown = max(shown, num_certain(llm, params, stands))
        else:
            start = max(start, shown)
            bans = {at: ids for at, ids in bans.items() if at <= start}
            draws = Counter({at: count for at, count in draws.items() if at <= start})
            bans.setdefault(start, []).append(stands[start].token_id)
            del stands[start:]
    return stands


def draw(
    llm: LLM,
    prompt: Sequence[int],
    params: SamplingParams,
    index: int,
    stands: list[Drawn],
    taken_back: tuple[int, ...],
    attempt: int,
) -> Drawn:
    output = [drawn.token_id for drawn in stands]
    ids = [*prompt, *output]
    row = SamplerRow(
        params=params,
        seed=params.seed or 0,
        sequence_index=index,
        position=len(ids),
        token_ids=ids,
        num_output=len(output),
        banned_until_min=(EOS, *params.stop_token_ids),
        history=TokenHistory(VOCAB, prompt, output, DEVICE) if uses_history(params) else None,
        suffixes=SuffixMatches(ids) if uses_suffixes(params) else None,
        feedback=stands[-1].feedback if stands else None,
        taken_back=taken_back,
        attempt=attempt,
    )
    return sample(logits_of(llm, ids)[-1:].clone(), [row])[0]


def is_over(llm: LLM, params: SamplingParams, stands: list[Drawn]) -> bool:
    ended = bool(stands) and (stands[-1].token_id in (EOS, *params.stop_token_ids))
    return len(stands) == params.max_tokens or (ended and not (params.ignore_eos and stands[-1].token_id == EOS))


def token_of_a_phrase(llm: LLM, params: SamplingParams, stands: list[Drawn]) -> int | None:
    """Of the phrase that is complete first, of two complete at once the longer: the token with its first byte."""
    text, tokens, _ = characters(llm, [drawn.token_id for drawn in stands], final=is_over(llm, params, stands))
    for end in range(1, len(text) + 1):
        phrases = map(folded, params.banned_phrases)
        starts = [end - len(phrase) for phrase in phrases if folded(text[:end]).endswith(phrase)]
        if starts:
            return tokens[min(starts)]
    return None


def num_certain(llm: LLM, params: SamplingParams, stands: list[Drawn]) -> int:
    """Tokens in front of the first in which a phrase may still begin."""
    text, tokens, incomplete = characters(llm, [drawn.token_id for drawn in stands], final=False)
    phrases, text = [folded(phrase) for phrase in params.banned_phrases], folded(text)
    may_begin = [at for at in range(len(text)) if any(phrase.startswith(text[at:]) for phrase in phrases)]
    return min([incomplete, *(tokens[at] for at in may_begin)])


def characters(llm: LLM, output: list[int], *, final: bool) -> tuple[str, list[int], int]:
    """The certain text of ids that are a byte each, and the tokens in which its characters and an open one begin."""
    decoder, text, tokens, begun = codecs.getincrementaldecoder("utf-8")("replace"), "", [], 0
    for place, token_id in enumerate(output):
        if token_id >= 256:
            continue  # special, or without a text
        was_inside = bool(decoder.getstate()[0])
        begun = begun if was_inside else place
        piece = decoder.decode(engine_of(llm).tokenizer.token_bytes(token_id))  # type: ignore[union-attr]
        text += piece
        tokens += [begun if at == 0 else place for at in range(len(piece))]
        if piece:
            begun = place
    piece = decoder.decode(b"", final) if final else ""
    is_open = bool(decoder.getstate()[0])
    return text + piece, [*tokens, *[begun] * len(piece)], begun if is_open else len(output)


@st.composite
def requests(draw: st.DrawFn) -> SamplingParams:
    fixed = {
        "allowed_token_ids": None,
        "banned_phrases": draw(PHRASES),
        "max_tokens": draw(st.integers(1, 14)),
        "ignore_eos": draw(st.booleans()),
    }
    return draw(sampling_params(VOCAB, **fixed))


@given(params=requests(), prompt=st.lists(st.integers(0, VOCAB - 1), min_size=1, max_size=40))
@settings(CHECKED, max_examples=examples(60))
def test_what_stands_is_what_a_model_without_state_gives(tiny: LLM, params: SamplingParams, prompt: list[int]) -> None:
    expected = slow(tiny, prompt, params)
    (output,) = tiny.generate(prompt, params)[0].outputs
    assert output.token_ids == [drawn.token_id for drawn in expected]
    assert output.text == characters(tiny, output.token_ids, final=True)[0]
    assert not any(folded(phrase) in folded(output.text) for phrase in params.banned_phrases)
    if output.logprobs is not None:
        found = [position[token_id] for position, token_id in zip(output.logprobs, output.token_ids, strict=True)]
        assert [(one.logprob, one.rank) for one in found] == [
            (drawn.logprobs.logprob, drawn.logprobs.rank) for drawn in expected if drawn.logprobs is not None
        ]


@given(
    few=st.lists(st.sampled_from("abcd"), min_size=2, max_size=4, unique=True), seed=st.integers(0, 50), data=st.data()
)
@settings(CHECKED, max_examples=examples(12))
def test_where_phrases_come_all_the_time(tiny: LLM, few: list[str], seed: int, data: st.DataObject) -> None:
    """Few tokens and long phrases: what was taken back is drawn again, and taken back again, deep into the text."""
    phrases = data.draw(st.lists(st.text(few, min_size=2, max_size=5), max_size=5))
    allowed = [tiny.tokenize(letter, add_special_tokens=False)[0] for letter in few]
    params = SamplingParams(
        seed=seed, max_tokens=25, banned_phrases=phrases, allowed_token_ids=allowed, ignore_eos=True,
        dry_multiplier=0.5, dry_sequence_breakers=[], frequency_penalty=0.3, adaptive_target=0.4, logprobs=2,
    )  # fmt: skip
    prompt = tiny.tokenize("abcabc")
    try:
        (output,) = tiny.generate(prompt, params)[0].outputs
    except ParameterError as error:
        assert error.field == "banned_phrases"
        with pytest.raises(AssertionError, match="nothing"):
            slow(tiny, prompt, params)
        return
    assert output.token_ids == [drawn.token_id for drawn in slow(tiny, prompt, params)]
    assert not any(phrase in output.text for phrase in phrases)


# ---- what a request sees of it


def one(llm: LLM, **fields: Any) -> CompletionOutput:
    return llm.generate(PROMPT, SamplingParams.from_fields({"seed": 5, "max_tokens": 40} | fields))[0].outputs[0]


def events(llm: LLM, **fields: Any) -> list[TokenEvent]:
    return list(llm.stream(PROMPT, SamplingParams.from_fields({"seed": 5, "max_tokens": 40} | fields)))


@given(seed=st.integers(0, 1000), temperature=st.sampled_from([0.0, 0.7, 1.5]))
@settings(CHECKED, max_examples=5)
def test_phrases_that_would_not_have_come_change_nothing(demo: LLM, seed: int, temperature: float) -> None:
    fields = {"seed": seed, "temperature": temperature, "logprobs": 1, "trace": 1}
    free = one(demo, **fields)
    assert (
        one(demo, **fields, banned_phrases=["zebra crossing", "the qu\u00e9en", "." * 9, "and then, and then"]) == free
    )


@pytest.mark.parametrize("fields", [{"temperature": 0}, {}, {"n": 3, "temperature": 1.3}, {"mirostat_mode": 2}])
def test_common_words_can_be_banned(demo: LLM, fields: dict[str, Any]) -> None:
    phrases = ["the", " a ", "was a", "e,"]
    params = SamplingParams.from_fields({"seed": 3, "max_tokens": 60, "banned_phrases": phrases} | fields)
    for output in demo.generate(PROMPT, params)[0].outputs:
        assert len(output.token_ids) > 5
        assert not any(phrase in output.text.lower() for phrase in phrases)
        assert demo.detokenize(output.token_ids, skip_special_tokens=True) == output.text


def test_text_is_the_same_up_to_the_token_in_which_the_phrase_would_have_begun(demo: LLM) -> None:
    free = one(demo, temperature=0)
    words = free.text.split()
    phrase = " ".join(words[4:7])
    limited = one(demo, temperature=0, banned_phrases=[phrase.upper()])
    start = free.text.index(phrase)
    assert limited.text[: start - 1] == free.text[: start - 1]
    assert limited.text[: start + len(phrase)] != free.text[: start + len(phrase)]


def test_no_event_shows_what_is_taken_back(demo: LLM) -> None:
    phrases = ["the", "there was", "lived"]
    told = events(demo, temperature=0, banned_phrases=phrases, logprobs=0, trace=0)
    whole = one(demo, temperature=0, banned_phrases=phrases, logprobs=0, trace=0)
    assert "".join(event.text for event in told) == whole.text
    assert [token_id for event in told for token_id in event.token_ids] == whole.token_ids
    assert all(len(event.token_ids) == len(event.logprobs or ()) == len(event.traces or ()) for event in told)
    assert any(len(event.token_ids) > 1 for event in told), "some tokens had to wait for others"
    assert all(event.token_ids for event in told)


def test_a_stop_string_sees_only_text_that_stands(demo: LLM) -> None:
    free = one(demo, temperature=0)
    phrase = " ".join(free.text.split()[4:7])
    limited = one(demo, temperature=0, banned_phrases=[phrase], stop=[phrase])
    assert limited.stop_reason is None, "the phrase never came"
    word = limited.text.split()[8]
    stopped = one(demo, temperature=0, banned_phrases=[phrase], stop=[word])
    assert (stopped.finish_reason, stopped.stop_reason) == ("stop", word)
    assert stopped.text == limited.text[: limited.text.index(word)]
    assert stopped.token_ids == limited.token_ids[: len(stopped.token_ids)]


def test_a_stop_string_in_held_text_ends_there_once_no_phrase_came_of_it(demo: LLM) -> None:
    text = one(demo, temperature=0).text
    word, following = text.split()[5], text.split()[6]
    held = one(demo, temperature=0, stop=[word], banned_phrases=[f"{word} {following} zebra"])
    plain = one(demo, temperature=0, stop=[word])
    assert held == plain


def test_a_token_that_was_taken_back_does_not_count(demo: LLM) -> None:
    limited = one(demo, max_tokens=12, banned_phrases=["the", "a"], ignore_eos=True)
    assert len(limited.token_ids) == 12
    assert limited.finish_reason == "length"


def test_held_text_is_given_when_the_limit_comes_first(demo: LLM) -> None:
    free = one(demo, temperature=0, max_tokens=8)
    end = free.text[-6:]
    limited = one(demo, temperature=0, max_tokens=8, banned_phrases=[f"{end} zebra"])
    assert limited == free


def test_what_may_end_only_later_is_not_ended_by_a_redraw(demo: LLM) -> None:
    limited = one(demo, banned_phrases=["e", "t"], min_tokens=25, temperature=1.5)
    assert len(limited.token_ids) >= 25


def test_a_stop_id_whose_text_is_kept_may_not_complete_a_phrase(tiny: LLM) -> None:
    a, b, c = (tiny.tokenize(letter, add_special_tokens=False)[0] for letter in "abc")
    fields = {"allowed_token_ids": [a, b, c], "stop_token_ids": [b], "logit_bias": {a: 9.0, b: 8.0}, "max_tokens": 30}
    shown = one(tiny, **fields, banned_phrases=["ab"], include_stop_str_in_output=True)
    assert "ab" not in shown.text
    hidden = one(tiny, **fields, banned_phrases=["ab"])
    assert "ab" not in hidden.text and "b" not in hidden.text


def test_a_phrase_of_special_text_counts_where_it_is_shown(tiny: LLM) -> None:
    (user,) = tiny.tokenize("<|user|>", add_special_tokens=False)
    fields = {"logit_bias": {user: 15.0}, "max_tokens": 10, "banned_phrases": ["<|user|>"], "ignore_eos": True}
    assert user in one(tiny, **fields).token_ids
    assert user not in one(tiny, **fields, skip_special_tokens=False).token_ids


# ---- grammars


@needs_llguidance
def test_a_grammar_is_walked_back_too(demo: LLM) -> None:
    grammar = {"regex": r"(red|green|blue)( (red|green|blue)){5}"}
    limited = one(demo, structured_outputs=grammar, banned_phrases=["green", "d red", "e blue"])
    assert limited.text in ("red blue red blue red blue", "blue red blue red blue red")
    assert limited.finish_reason == "stop"


@needs_llguidance
@pytest.mark.parametrize("grammar", [{"regex": "a(bc)+"}, {"choice": ["abc"]}, {"json": {"const": "abc"}}])
def test_a_grammar_that_forces_a_phrase_is_an_error_that_names_them(demo: LLM, grammar: dict[str, Any]) -> None:
    with pytest.raises(ParameterError, match=r"banned_phrases=\['bc'\].*fewer of them"):
        one(demo, structured_outputs=grammar, banned_phrases=["bc"])
    assert all_blocks_free(demo)


def test_a_request_whose_every_choice_leads_to_a_phrase_ends(demo: LLM) -> None:
    digits = [demo.tokenize(digit, add_special_tokens=False)[0] for digit in "0123456789"]
    with pytest.raises(ParameterError, match=r"banned_phrases.*\(10\) lead to one"):
        one(demo, banned_phrases=[*"0123456789"], allowed_token_ids=digits)
    assert one(demo, max_tokens=3).finish_reason == "length", "the engine goes on"


def test_the_work_for_one_token_is_bounded(tiny: LLM, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two letters always begin a phrase of twelve: thousands of ways, none of them good."""
    letters = [tiny.tokenize(letter, add_special_tokens=False)[0] for letter in "ab"]
    phrases = [f"{'ab'[number & 1]}{number:08b}".replace("0", "a").replace("1", "b") for number in range(256)]
    params = SamplingParams(banned_phrases=phrases, allowed_token_ids=letters, max_tokens=100)
    assert count_steps(tiny, params) <= 100 * MAX_IN_A_ROW


def count_steps(llm: LLM, params: SamplingParams) -> int:
    """Of one request, stepped by hand: the engine's own thread sleeps while nothing was submitted."""
    engine, steps = engine_of(llm), 0
    engine.add(llm.admit(PROMPT, params))
    while engine.has_work:
        engine.step()
        steps += 1
    return steps


# ---- while it runs


@needs_llguidance
def test_abort_gives_held_text(demo: LLM) -> None:
    engine = engine_of(demo)
    grammar = {"regex": "x(la){40}"}
    request = demo.admit(PROMPT, SamplingParams(structured_outputs=grammar, banned_phrases=["la" * 50], max_tokens=60))
    engine.add(request)
    told = [event for _ in range(15) for event in engine.step()]
    assert "".join(event.text for event in told) in ("", "x"), "the rest may become the phrase"
    (last,) = engine.abort(request.request_id)
    assert last.finish_reason == "abort"
    assert last.text.startswith("xla") or last.text.startswith("la")
    assert demo.detokenize(last.token_ids) == last.text
    assert all_blocks_free(demo)


def test_a_block_that_others_may_read_is_never_written_again(tiny: LLM) -> None:
    """Rewinds around the edges of blocks: everything that was published keeps its content while it is known."""
    engine = engine_of(tiny)
    pool, kv = engine.scheduler.pool, engine.runner.kv
    letters = [tiny.tokenize(letter, add_special_tokens=False)[0] for letter in "ab"]
    params = SamplingParams(
        seed=1, max_tokens=60, allowed_token_ids=letters, banned_phrases=["abba", "baab", "aaaaa", "bbbbbbb"], n=3
    )
    engine.add(tiny.admit(tiny.tokenize("abab" * 7), params))
    known: dict[int, tuple[bytes, list[torch.Tensor]]] = {}
    while engine.has_work:
        engine.step()
        for block, block_hash in enumerate(pool._hash_of):
            if block_hash is None:
                known.pop(block, None)
                continue
            content = [layer[block].clone() for layers in kv.layers for layer in layers]
            before = known.setdefault(block, (block_hash, content))
            if before[0] == block_hash:
                assert all(torch.equal(old, new) for old, new in zip(before[1], content, strict=True))
            known[block] = (block_hash, content)
    assert len(known) > 6
    assert all_blocks_free(tiny)


@pytest.mark.parametrize("phrases", [["abba", "aaaaa"], ["\ufffd\ufffd", "aa"]])
def test_the_last_stage_of_a_trace_is_what_a_redrawn_token_was_drawn_from(tiny: LLM, phrases: list[str]) -> None:
    letters = [tiny.tokenize(letter, add_special_tokens=False)[0] for letter in "ab"]
    allowed = letters if "abba" in phrases else None
    fields = {"max_tokens": 30, "allowed_token_ids": allowed, "banned_phrases": phrases, "trace": 20, "top_p": 0.98}
    output = one(tiny, **fields, logprobs=1, logprobs_mode="processed", xtc_probability=0.5)
    assert output.traces is not None and output.logprobs is not None
    redrawn = 0
    for token_id, stages, position in zip(output.token_ids, output.traces, output.logprobs, strict=True):
        assert stages[-1].drawn > 0
        assert stages[-1].drawn == pytest.approx(2.718281828459045 ** position[token_id].logprob, rel=1e-4)
        constraints = next((stage for stage in stages if stage.name == "constraints"), None)
        possible = len(letters) if allowed else VOCAB
        redrawn += constraints is not None and constraints.num_possible < possible
    assert redrawn > 0, "the ban is seen among the constraints"


def test_a_redraw_has_random_numbers_of_its_own(tiny: LLM) -> None:
    """Coins of xtc and noise of the draw: were they those of the first draw, banning a token that is not drawn would
    change nothing behind it."""
    row: dict[str, Any] = dict(
        seed=1, sequence_index=0, position=5, token_ids=[1] * 5, num_output=2, banned_until_min=(), history=None
    )  # fmt: skip
    logits = torch.zeros(1, 4096)
    params = SamplingParams(seed=1)
    ids = [sample(logits, [SamplerRow(params=params, attempt=attempt, **row)])[0].token_id for attempt in range(20)]
    assert len(set(ids)) == 20
    assert ids[0] == sample(logits, [SamplerRow(params=params, **row)])[0].token_id


# ---- refusals


@pytest.mark.parametrize(
    ("value", "allowed"),
    [
        ([""], "phrases are non-empty strings"),
        ([7], "phrases are non-empty strings"),
        (7, "a string or a list of at most"),
        (["x"] * (MAX_BANNED_PHRASES + 1), f"at most {MAX_BANNED_PHRASES} strings"),
        (["x" * (MAX_PHRASE_LENGTH + 1)], f"up to {MAX_PHRASE_LENGTH} characters, not {MAX_PHRASE_LENGTH + 1}"),
    ],
)
def test_what_is_no_list_of_phrases_is_refused(value: Any, allowed: str) -> None:
    with pytest.raises(ParameterError, match=allowed) as refused:
        SamplingParams(banned_phrases=value)
    assert refused.value.field == "banned_phrases"


def test_one_phrase_alone_stands_for_a_list_of_one() -> None:
    assert SamplingParams(banned_phrases="as an AI").banned_phrases == ("as an AI",)
