"""Text of models as calls, thoughts and answers, however it is cut into pieces."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aphrodite.service.turn.call_forms import HERMES, LLAMA, MISTRAL, PLAIN, CallForm, form_of
from aphrodite.service.turn.deltas import Delta, ReasoningDelta, TextDelta, ToolArgumentsDelta, ToolCallStarted
from aphrodite.service.turn.reasoning import Reasoning, Thought, thought_after
from aphrodite.service.turn.reply_form import ReplyForm, ReplyReader
from aphrodite.service.turn.tool_calls import ToolCalls

NAMES = frozenset(("get_weather", "add"))
PARIS = '{"city": "Paris, \\"}{\\" \\u00e9"}'

Read = tuple[str, list[tuple[str, str]]]


def read(form: CallForm, pieces: list[str]) -> Read:
    """Text, and (name, arguments) of each call."""
    reader = ToolCalls(form, NAMES)
    deltas: list[Delta] = [delta for piece in pieces for delta in reader.add(piece)] + reader.finish()
    return joined(deltas)


def joined(deltas: list[Delta]) -> Read:
    text, calls = "", []
    for delta in deltas:
        match delta:
            case TextDelta(more):
                assert more
                text += more
            case ToolCallStarted(place, call_id, name):
                assert place == len(calls) and call_id
                calls.append([name, ""])
            case ToolArgumentsDelta(place, arguments):
                assert place == len(calls) - 1 and arguments
                calls[place][1] += arguments
    return text, [(name, arguments) for name, arguments in calls]


CASES: list[tuple[CallForm, str, Read]] = [
    (HERMES, "Hello <b> there </b>\n", ("Hello <b> there </b>\n", [])),
    (
        HERMES,
        f'<tool_call>\n{{"name": "get_weather", "arguments": {PARIS}}}\n</tool_call>',
        ("", [("get_weather", PARIS)]),
    ),
    (
        HERMES,
        f'I look.\n\n<tool_call>{{"name":"get_weather","arguments":{PARIS}}}</tool_call>\n<tool_call>\n'
        '{"name": "add", "arguments": {"a": 1}}\n</tool_call>\n',
        ("I look.", [("get_weather", PARIS), ("add", '{"a": 1}')]),
    ),
    (HERMES, '<tool_call>{"arguments": {"a": [1, {}]}, "name": "add"}</tool_call>Done.',
     ("Done.", [("add", '{"a": [1, {}]}')])),
    (HERMES, '<tool_call>{"name": "add"}</tool_call>', ("", [("add", "{}")])),
    (HERMES, '<tool_call>{"name": "add", "arguments": "{\\"a\\": 1}"}</tool_call>', ("", [("add", '{"a": 1}')])),
    (HERMES, '<tool_call>{"name": "add", "arguments": {"a": 1', ("", [("add", '{"a": 1')])),
    (HERMES, '<tool_call>{"name": "rob", "arguments": {}}</tool_call>',
     ('<tool_call>{"name": "rob", "arguments": {}}</tool_call>', [])),
    (HERMES, "a <tool_call> b", ("a <tool_call> b", [])),
    (HERMES, "a <tool_ca", ("a <tool_ca", [])),
    (HERMES, '<tool_call>{"na', ('<tool_call>{"na', [])),
    (HERMES, '<tool_call>[]', ("<tool_call>[]", [])),
    (LLAMA, '{"name": "add", "parameters": {"a": 1}}', ("", [("add", '{"a": 1}')])),
    (LLAMA, '\n{"name": "add", "parameters": {"a": 1}}; {"name": "get_weather", "parameters": {}}',
     ("", [("add", '{"a": 1}'), ("get_weather", "{}")])),
    (LLAMA, '{"type": "function", "name": "add", "parameters": {"a": -1.5e3}}', ("", [("add", '{"a": -1.5e3}')])),
    (LLAMA, '{"answer": 3}', ('{"answer": 3}', [])),
    (LLAMA, 'Use {"name": "add", "parameters": {}}', ('Use {"name": "add", "parameters": {}}', [])),
    (LLAMA, "\n\nHello", ("\n\nHello", [])),
    (MISTRAL, '[TOOL_CALLS] [{"name": "add", "arguments": {"a": 1}}, {"name": "add", "arguments": {"a": 2}}]',
     ("", [("add", '{"a": 1}'), ("add", '{"a": 2}')])),
    (MISTRAL, "A list: [TOOL] [1]", ("A list: [TOOL] [1]", [])),
    (MISTRAL, 'Wait. [TOOL_CALLS][{"name": "add", "arguments": {"a": 1}}]', ("Wait.", [("add", '{"a": 1}')])),
    (PLAIN, '[{"name": "add", "arguments": {"a": 1}}]', ("", [("add", '{"a": 1}')])),
    (PLAIN, "[1, 2]", ("[1, 2]", [])),
    (PLAIN, "", ("", [])),
]  # fmt: skip


@pytest.mark.parametrize(("form", "text", "expected"), CASES)
def test_calls_are_told_from_text_in_one_piece_and_character_by_character(
    form: CallForm, text: str, expected: Read
) -> None:
    assert read(form, [text]) == expected
    assert read(form, list(text)) == expected


@given(case=st.sampled_from(CASES), cuts=st.lists(st.integers(0, 120), max_size=12))
def test_where_text_is_cut_changes_nothing(case: tuple[CallForm, str, Read], cuts: list[int]) -> None:
    form, text, expected = case
    places = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    assert read(form, [text[a:b] for a, b in itertools.pairwise(places)]) == expected


@given(
    form=st.sampled_from([HERMES, LLAMA, MISTRAL, PLAIN]),
    text=st.text(st.sampled_from('<tool_call>/[TOOL_CALLS]{}":, name\n"add"x')),
)
def test_text_without_a_call_of_a_known_function_passes_unchanged(form: CallForm, text: str) -> None:
    found, calls = read(form, list(text))
    assert calls or found == text


@given(
    form=st.sampled_from([HERMES, LLAMA, MISTRAL, PLAIN]),
    arguments=st.dictionaries(
        st.text(),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=5,
        ),
    ),
)
def test_any_arguments_come_out_as_they_went_in(form: CallForm, arguments: dict[str, object]) -> None:
    written = json.dumps(arguments)
    call = f'{{"name": "add", "{form.arguments_key}": {written}}}'
    assert read(form, list(form.marker + form.opening + call + form.closing)) == ("", [("add", written)])


@pytest.mark.parametrize(
    ("source", "form"),
    [
        ('<tool_call>\n{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>', HERMES),
        ("<tool_call>\n<function=example>\n<parameter=x>", None),
        ("<tool_call>{name}\n<arg_key>", None),
        ("[TOOL_CALLS] [", MISTRAL),
        ("[TOOL_CALLS]name[ARGS]", None),
        ('{"name": function name, "parameters": dictionary} Environment: ipython', LLAMA),
        ("{{ messages }}", None),
    ],
)
def test_forms_are_seen_from_templates(source: str, form: CallForm | None) -> None:
    assert form_of(source) is form


# ---- thoughts


def parted(thought: Thought, pieces: list[str]) -> tuple[str, str]:
    reader = Reasoning(thought)
    deltas = [delta for piece in pieces for delta in reader.add(piece)] + reader.finish()
    thoughts = "".join(d.text for d in deltas if isinstance(d, ReasoningDelta))
    return thoughts, "".join(d.text for d in deltas if isinstance(d, TextDelta))


@pytest.mark.parametrize(
    ("thought", "text", "expected"),
    [
        (Thought.OPEN, "\nI add.\n</think>\n\n87", ("I add.", "87")),
        (Thought.OPEN, "still thinking </thi", ("still thinking </thi", "")),
        (Thought.POSSIBLE, "<think>\nI add.\n</think>\n\n87\n", ("I add.", "87\n")),
        (Thought.POSSIBLE, "\n<think></think>87", ("", "87")),
        (Thought.POSSIBLE, "<thin ice>", ("", "<thin ice>")),
        (Thought.POSSIBLE, " 87", ("", " 87")),
        (Thought.POSSIBLE, "<thi", ("", "<thi")),
        (Thought.OPEN, "a < b </think>x</think>", ("a < b", "x</think>")),
        (Thought.NONE, "  <think>a</think>", ("", "  <think>a</think>")),
    ],
)
def test_a_thought_is_parted_from_the_answer(thought: Thought, text: str, expected: tuple[str, str]) -> None:
    assert parted(thought, [text]) == expected
    assert parted(thought, list(text)) == expected


def test_where_a_thought_stands_is_seen_from_the_end_of_the_prompt() -> None:
    assert thought_after("<|assistant|>\n<think>\n") is Thought.OPEN
    assert thought_after("<|assistant|>\n<think>\n\n</think>\n\n") is Thought.NONE
    assert thought_after("<|assistant|>\n") is Thought.POSSIBLE


def test_a_call_in_a_thought_is_no_call() -> None:
    call = '<tool_call>{"name": "add", "arguments": {}}</tool_call>'
    reader = ReplyReader(ReplyForm(Thought.OPEN, HERMES, NAMES))
    deltas = reader.add(f"maybe {call}</think>{call}", is_last=True)
    assert ReasoningDelta(f"maybe {call}") in deltas
    assert joined([d for d in deltas if not isinstance(d, ReasoningDelta)]) == ("", [("add", "{}")])
    assert reader.has_called
