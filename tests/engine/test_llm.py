"""LLM: what goes in, what comes out, and when a text ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aphrodite_engine.errors import ChatTemplateError, ParameterError, UnsupportedModelError
from aphrodite_engine.llm import LLM
from aphrodite_engine.params import SamplingParams
from tests.engine.inside import all_blocks_free, engine_of, logits_of, wait_until
from tests.engine.tiny import BOS, EOS, VOCAB, write_tiny_llama

SHORT = SamplingParams(max_tokens=6, seed=3, ignore_eos=True)
MESSAGES = [{"role": "user", "content": "Hello!"}]


def bytes_only(llm: LLM, count: int = 256) -> list[int]:
    """Ids of the tiny model that are bytes of ASCII letters: text without broken characters."""
    return [i for i in range(count) if llm.detokenize([i]).isalpha() and llm.detokenize([i]).isascii()]


# ---- forms of a prompt


def test_a_text_a_list_of_texts_ids_and_a_list_of_ids_are_all_prompts(tiny: LLM) -> None:
    ids = tiny.tokenize("ab")
    alone = tiny.generate("ab", SHORT)[0]
    for prompts in (["ab"], ("ab",), ids, tuple(ids), [ids], (tuple(ids),)):
        (result,) = tiny.generate(prompts, SHORT)
        assert result.outputs == alone.outputs
        assert result.prompt_token_ids == ids
    assert (alone.prompt, tiny.generate(ids, SHORT)[0].prompt) == ("ab", None)


def test_results_come_in_the_order_of_the_prompts(tiny: LLM) -> None:
    prompts = ["a" * (1 + 37 * place % 50) for place in range(12)]
    params = [SamplingParams(max_tokens=1 + 5 * place % 7, seed=place, ignore_eos=True) for place in range(12)]
    results = tiny.generate(prompts, params)
    assert [result.prompt for result in results] == prompts
    assert [len(result.token_ids) for result in results] == [p.max_tokens for p in params]
    assert [result.seed for result in results] == list(range(12))


def test_texts_and_ids_may_be_mixed_in_one_call(tiny: LLM) -> None:
    results = tiny.generate(["ab", tiny.tokenize("ab")], SHORT)
    assert results[0].token_ids == results[1].token_ids


def test_an_empty_text_starts_from_bos_or_is_refused_where_the_tokenizer_has_none(tiny: LLM, tmp_path: Path) -> None:
    assert tiny.generate("", SHORT)[0].prompt_token_ids == [BOS]
    folder = write_tiny_llama(tmp_path)
    file = folder / "tokenizer.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"post_processor": None}))
    with LLM(folder) as llm:
        assert llm.tokenize("") == []
        with pytest.raises(ParameterError, match="at least one token"):
            llm.generate("")


def test_shortcuts_give_the_first_sequence(tiny: LLM) -> None:
    result = tiny.generate("ab", SHORT.with_fields(n=3))[0]
    assert (result.text, result.token_ids, result.seed) == (
        result.outputs[0].text, result.outputs[0].token_ids, result.outputs[0].seed,
    )  # fmt: skip
    assert result.finished


def test_n_sequences_of_a_request_differ_and_share_its_seed(tiny: LLM) -> None:
    outputs = tiny.generate("ab", SHORT.with_fields(n=8))[0].outputs
    assert [output.index for output in outputs] == list(range(8))
    assert {output.seed for output in outputs} == {3}
    assert len({tuple(output.token_ids) for output in outputs}) > 4


def test_n_greedy_sequences_are_equal(tiny: LLM) -> None:
    outputs = tiny.generate("ab", SHORT.with_fields(n=3, temperature=0))[0].outputs
    assert outputs[0].token_ids == outputs[1].token_ids == outputs[2].token_ids


def test_greedy_tokens_are_the_largest_logits_of_the_model(tiny: LLM) -> None:
    result = tiny.generate("ab", SHORT.with_fields(temperature=0, max_tokens=20))[0]
    logits = logits_of(tiny, [*result.prompt_token_ids, *result.token_ids])
    assert logits.argmax(1)[len(result.prompt_token_ids) - 1 : -1].tolist() == result.token_ids


def test_the_text_is_what_the_ids_decode_to(tiny: LLM) -> None:
    for seed in range(10):
        result = tiny.generate("ab", SHORT.with_fields(seed=seed, max_tokens=30))[0]
        assert result.text == tiny.detokenize(result.token_ids, skip_special_tokens=True)


def test_special_tokens_show_when_asked_for(tiny: LLM) -> None:
    params = SamplingParams(allowed_token_ids=[EOS], ignore_eos=True, max_tokens=2)
    assert tiny.generate("a", params)[0].text == ""
    assert tiny.generate("a", params.with_fields(skip_special_tokens=False))[0].text == "</s></s>"


# ---- ends


def test_eos_ends_a_text_and_is_not_part_of_it(tiny: LLM) -> None:
    output = tiny.generate("a", SamplingParams(logit_bias={EOS: 100.0}))[0].outputs[0]
    assert (output.token_ids, output.text, output.finish_reason, output.stop_reason) == ([EOS], "", "stop", None)


def test_ignore_eos_goes_on_to_max_tokens(tiny: LLM) -> None:
    output = tiny.generate("a", SamplingParams(logit_bias={EOS: 100.0}, ignore_eos=True, max_tokens=4))[0].outputs[0]
    assert (output.token_ids, output.finish_reason) == ([EOS] * 4, "length")


def test_stop_token_ids_end_a_text_even_where_eos_is_ignored(tiny: LLM) -> None:
    params = SamplingParams(allowed_token_ids=[65], stop_token_ids=[7, 65], ignore_eos=True)
    output = tiny.generate("a", params)[0].outputs[0]
    assert (output.token_ids, output.text, output.finish_reason, output.stop_reason) == ([65], "", "stop", 65)
    kept = tiny.generate("a", params.with_fields(include_stop_str_in_output=True))[0].outputs[0]
    assert kept.text == tiny.detokenize([65])


def test_min_tokens_makes_ends_wait(tiny: LLM) -> None:
    params = SamplingParams(logit_bias={EOS: 100.0, 65: 50.0}, stop_token_ids=[66], min_tokens=3, max_tokens=9)
    output = tiny.generate("a", params)[0].outputs[0]
    assert output.token_ids == [65, 65, 65, EOS]


def test_a_stop_string_ends_the_text_and_is_trimmed_unless_asked_for(tiny: LLM) -> None:
    ids = bytes_only(tiny)[:3]
    letters = [tiny.detokenize([i]) for i in ids]
    whole = tiny.generate("a", SamplingParams(seed=1, allowed_token_ids=ids, max_tokens=60))[0].text
    stop = letters[0] + letters[1]
    place = whole.index(stop)
    params = SamplingParams(seed=1, allowed_token_ids=ids, max_tokens=60, stop=["never", stop])
    output = tiny.generate("a", params)[0].outputs[0]
    assert (output.text, output.finish_reason, output.stop_reason) == (whole[:place], "stop", stop)
    assert len(output.token_ids) == place + 2, "tokens are those drawn, the stop string's too"
    assert tiny.generate("a", params.with_fields(include_stop_str_in_output=True))[0].text == whole[: place + 2]


def test_stop_strings_do_not_act_before_min_tokens(tiny: LLM) -> None:
    (letter,) = bytes_only(tiny)[:1]
    params = SamplingParams(allowed_token_ids=[letter], stop=[tiny.detokenize([letter])], min_tokens=3, max_tokens=9)
    output = tiny.generate("a", params)[0].outputs[0]
    assert (len(output.token_ids), len(output.text), output.finish_reason) == (3, 2, "stop")


def test_text_held_back_for_a_stop_string_is_shown_at_the_end(tiny: LLM) -> None:
    (letter,) = bytes_only(tiny)[:1]
    char = tiny.detokenize([letter])
    output = tiny.generate("a", SamplingParams(allowed_token_ids=[letter], stop=[char * 3 + "!"], max_tokens=5))[0]
    assert output.text == char * 5


def test_an_incomplete_character_shows_as_a_replacement_at_the_end(tiny: LLM) -> None:
    first = tiny.tokenize("€", add_special_tokens=False)[0]
    params = SamplingParams(allowed_token_ids=[first], max_tokens=1)
    assert tiny.generate("a", params)[0].text == "\N{REPLACEMENT CHARACTER}"


LENGTHS = [(1, 10, 1), (None, 250, 6), (None, 255, 1), (9, 250, 6)]


@pytest.mark.parametrize(("max_tokens", "prompt_len", "expected"), LENGTHS)
def test_max_tokens_and_the_context_limit_the_length(
    tiny: LLM, max_tokens: int | None, prompt_len: int, expected: int
) -> None:
    output = tiny.generate([5] * prompt_len, SamplingParams(max_tokens=max_tokens, ignore_eos=True))[0].outputs[0]
    assert (len(output.token_ids), output.finish_reason) == (expected, "length")


def test_a_context_filled_to_the_last_token_is_right_to_the_last_token(tiny: LLM) -> None:
    result = tiny.generate([5] * 200, SamplingParams(max_tokens=None, ignore_eos=True, temperature=0, logprobs=1))[0]
    assert len(result.token_ids) == 56
    logits = logits_of(tiny, [*result.prompt_token_ids, *result.token_ids[:-1]])
    assert logits.argmax(1)[199:].tolist() == result.token_ids


# ---- seeds


def test_a_request_without_a_seed_reports_one_that_replays_it(tiny: LLM) -> None:
    params = SHORT.with_fields(seed=None, n=2)
    first, second = tiny.generate(["ab", "ab"], params)
    assert first.seed != second.seed
    replayed = tiny.generate("ab", params.with_fields(seed=first.seed))[0]
    assert replayed.outputs == first.outputs


def test_the_engines_seed_makes_a_whole_session_reproducible(tiny_folder: Path) -> None:
    sessions = []
    for seed in (11, 11, 12):
        with LLM(tiny_folder, seed=seed) as llm:
            params = SHORT.with_fields(seed=None)
            sessions.append([r.outputs for call in range(2) for r in llm.generate(["ab", "cd"], params)])
    assert sessions[0] == sessions[1] != sessions[2]
    assert len({output.seed for outputs in sessions[0] for output in outputs}) == 4


def test_sampling_params_left_out_are_neutral_ones(tiny_folder: Path) -> None:
    with LLM(tiny_folder, seed=1) as one, LLM(tiny_folder, seed=1) as other:
        assert one.generate("ab")[0].outputs == other.generate("ab", SamplingParams())[0].outputs


# ---- streams


def test_a_streams_pieces_join_to_the_text(tiny: LLM) -> None:
    params = SHORT.with_fields(max_tokens=40, n=2, logprobs=1, prompt_logprobs=1)
    (result,) = tiny.generate("ab", params)
    events = list(tiny.stream("ab", params))
    for output in result.outputs:
        mine = [event for event in events if event.index == output.index]
        assert "".join(event.text for event in mine) == output.text
        assert [i for event in mine for i in event.token_ids] == output.token_ids
        assert [event.finish_reason for event in mine] == [None] * (len(mine) - 1) + [output.finish_reason]
        assert {event.seed for event in mine} == {3}
        assert mine[-1].timing is not None
    assert events[0].prompt_logprobs is not None


def test_a_stream_that_is_closed_is_aborted_and_its_blocks_are_free(tiny: LLM) -> None:
    stream = tiny.stream("ab", SamplingParams(max_tokens=None, ignore_eos=True, n=3))
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    wait_until(lambda: all_blocks_free(tiny) and not engine_of(tiny).has_work)


def test_a_stream_that_is_dropped_is_aborted(tiny: LLM) -> None:
    for _ in tiny.stream("ab", SamplingParams(max_tokens=None, ignore_eos=True)):
        break
    wait_until(lambda: not engine_of(tiny).has_work)


def test_a_stream_that_was_never_started_costs_nothing(tiny: LLM) -> None:
    tiny.stream("ab", SHORT)
    assert not engine_of(tiny).has_work


def test_a_streams_bad_request_is_refused_when_asked_not_when_read(tiny: LLM) -> None:
    with pytest.raises(ParameterError):
        tiny.stream([VOCAB])


def test_two_streams_at_once_each_get_their_own(tiny: LLM) -> None:
    params = SHORT.with_fields(max_tokens=20)
    expected = [tiny.generate(prompt, params)[0].text for prompt in ("ab", "xy")]
    pairs = zip(tiny.stream("ab", params), tiny.stream("xy", params), strict=True)
    texts = [(one.text, other.text) for one, other in pairs]
    assert ["".join(column) for column in zip(*texts, strict=True)] == expected


# ---- chat


def test_a_conversation_is_answered_from_its_rendered_prompt(tiny: LLM) -> None:
    text = tiny.render_chat(MESSAGES)
    assert text == "<s><|user|>Hello!<|assistant|>"
    (result,) = tiny.chat(MESSAGES, SHORT)
    assert result.prompt == text
    assert result.prompt_token_ids == tiny.tokenize(text, add_special_tokens=False), "no second <s>"
    streamed = "".join(event.text for event in tiny.stream(MESSAGES, SHORT))
    assert streamed == result.text


def test_many_conversations_in_one_call(tiny: LLM) -> None:
    other = [{"role": "user", "content": "Bye"}]
    results = tiny.chat([MESSAGES, other], SHORT)
    assert [r.outputs for r in results] == [tiny.chat(m, SHORT)[0].outputs for m in (MESSAGES, other)]


def test_template_arguments_reach_the_template(tiny: LLM) -> None:
    assert tiny.chat(MESSAGES, SHORT, add_generation_prompt=False)[0].prompt == "<s><|user|>Hello!"
    with pytest.raises(ParameterError, match="only with messages"):
        tiny.stream("text", add_generation_prompt=False)


def test_a_model_without_a_template_refuses_to_chat_and_goes_on(tmp_path: Path) -> None:
    with LLM(write_tiny_llama(tmp_path, chat_template=None)) as llm:
        with pytest.raises(ChatTemplateError, match="no chat template"):
            llm.chat(MESSAGES)
        assert llm.generate("ab", SHORT)[0].finished


def test_a_model_without_a_tokenizer_takes_and_gives_ids(tmp_path: Path) -> None:
    with LLM(write_tiny_llama(tmp_path, tokenizer=False)) as llm:
        result = llm.generate([1, 2], SHORT.with_fields(logprobs=1))[0]
        assert len(result.token_ids) == 6
        assert result.text == ""
        for refused in (lambda: llm.generate("ab"), lambda: llm.generate([1], SamplingParams(stop="a"))):
            with pytest.raises(ParameterError, match="no tokenizer"):
                refused()
        for unsupported in (lambda: llm.chat(MESSAGES), lambda: llm.tokenize("a"), lambda: llm.detokenize([1])):
            with pytest.raises(UnsupportedModelError, match="no tokenizer"):
                unsupported()


# ---- other settings


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_runs_and_stays_near_float32(tiny: LLM, tiny_folder: Path, dtype: str) -> None:
    with LLM(tiny_folder, dtype=dtype) as llm:
        assert llm.plan.dtype == dtype
        assert llm.plan.weight_bytes * 2 == tiny.plan.weight_bytes
        near = (logits_of(llm, [1, 2, 3]) - logits_of(tiny, [1, 2, 3])).abs().max()
        assert near < 0.3
        assert llm.generate("ab", SHORT)[0].finished


def test_fast_determinism_runs_and_stays_near_strict(tiny: LLM, tiny_folder: Path) -> None:
    with LLM(tiny_folder, determinism="fast") as llm:
        assert (logits_of(llm, [1, 2, 3]) - logits_of(tiny, [1, 2, 3])).abs().max() < 1e-4
        params = SHORT.with_fields(temperature=0, max_tokens=12)
        assert llm.generate(["ab", "cd"], params)[1].text == tiny.generate("cd", params)[0].text


def test_the_bundled_model_answers_with_text(demo: LLM) -> None:
    result = demo.chat(MESSAGES, SamplingParams(max_tokens=8, temperature=0))[0]
    assert result.text.isprintable() or "\n" in result.text
    assert "\N{REPLACEMENT CHARACTER}" not in result.text


def test_a_higher_priority_finishes_first(tiny_folder: Path) -> None:
    with LLM(tiny_folder, max_num_seqs=1) as llm:
        order: list[str] = []
        loop, params = llm._running_loop(), SamplingParams(max_tokens=3, ignore_eos=True)
        requests = [llm._admission.admit([1, 2], params, priority=p) for p in (0, 5, 0, -5)]
        for request in requests:
            loop.submit(request, lambda event: order.append(event.request_id) if event.finish_reason else None)
        wait_until(lambda: len(order) == 4)
        assert order[1:] == [requests[3].request_id, requests[2].request_id, requests[1].request_id] or (
            order == [requests[i].request_id for i in (3, 0, 2, 1)]
        )
