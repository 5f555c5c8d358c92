"""Streams in a real kernel: how they appear, and how an interrupt ends them."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.magics.kernels import Kernel, Output, kernel
from tests.service.running import Running, wait_for

#: Longer than anybody waits for: an interrupt ends it.
ENDLESS = "%%aphrodite --max-tokens none --ignore-eos --into story -s 1\nOnce upon a time"


@pytest.fixture(scope="module")
def cell(served: Running) -> Iterator[Kernel]:
    with kernel(served) as found:
        yield found


def in_flight(served: Running) -> int:
    """Requests of the service, and those that its engine computes."""
    with served.client(headers=served.admin) as client:
        status = client.get("/admin/status").json()
    return status["in_flight"] + sum(model["stats"]["running"] for model in status["models"])


def test_an_answer_is_one_output_written_over_at_most_twenty_times_a_second(cell: Kernel) -> None:
    started = time.monotonic()
    shown = cell("%%aphrodite --max-tokens 300 --ignore-eos --into long -s 1\nOnce upon a time")
    seconds = time.monotonic() - started
    assert not shown.errors and len(shown.displays) == 1
    assert 2 < len(shown.updates) <= 2 + 20 * seconds
    (last,) = shown.displays.values()
    assert last["text/plain"] and shown.value is None
    assert repr(last["text/plain"]) == cell("long.text").value["text/plain"]  # type: ignore[index]


def test_an_interrupt_keeps_what_was_there_and_the_next_cell_works_at_once(cell: Kernel, served: Running) -> None:
    running = cell.start(ENDLESS)
    cell.until(running, lambda shown: len(shown.updates) > 3)
    assert in_flight(served) > 0
    cell.interrupt()
    started = time.monotonic()
    stopped = cell.finish(running)
    following = cell("story.finish_reason, len(story.text) > 20")
    assert time.monotonic() - started < 1
    assert not stopped.errors and following.text == "('abort', True)"
    wait_for(lambda: in_flight(served) == 0, 2)
    tokens = cell("len(story.tokens) == len(story.result.token_ids) == story.usage.output_tokens")
    assert tokens.text == "True"


def test_interrupts_at_any_moment_leave_a_whole_result_or_none(cell: Kernel, served: Running) -> None:
    for pause in (0.0, 0.02, 0.05, 0.11, 0.3):
        cell("story = None")
        running = cell.start_running(ENDLESS)
        time.sleep(pause)
        cell.interrupt()
        cell.finish(running)
        kept = cell(
            "story is None or (story.finish_reason, len(story.tokens)) == ('abort', len(story.result.token_ids))"
        )
        assert kept.text == "True", (pause, kept)
        wait_for(lambda: in_flight(served) == 0, 2)


def test_sliders_of_a_cell_ask_again_and_write_the_answer_over(cell: Kernel, served: Running) -> None:
    shown = cell("%%aphrodite --interact temperature,max_tokens --max-tokens 8 -s 1 --into one\nOnce upon a time")
    assert not shown.errors
    assert [name for name in shown.displays.values() if "application/vnd.jupyter.widget-view+json" in name]
    moved = cell(
        "import ipywidgets, time\n"
        "first, widgets = one, ipywidgets.widgets.widget._instances.values()\n"
        "slider = [w for w in widgets if getattr(w, 'description', '') == 'max_tokens'][0]\n"
        "for slider.value in (30, 20, 12): pass\n"
        "deadline = time.monotonic() + 20\n"
        "while one is first and time.monotonic() < deadline: time.sleep(0.02)\n"
        "len(one.tokens), one.params['max_tokens']"
    )
    assert moved.text.endswith("(12, 12)"), moved
    assert any(name in shown.displays for name in moved.displays)
    wait_for(lambda: in_flight(served) == 0, 2)


def test_the_playground_in_a_cell_answers_and_stops(cell: Kernel, served: Running) -> None:
    cell("board = %aphrodite play")
    answered = cell(
        "board.prompt.value, board.preset.value = 'What is 39 + 48?', 'greedy'\n"
        "board.generate.click()\n"
        "import time\n"
        "while not (board.generation and board.generation.finish_reason): time.sleep(0.02)\n"
        "board.generation.text, board.controls['temperature'].value"
    )
    assert answered.text.endswith("('87', 0.0)"), answered
    stopped = cell(
        "board.is_chat.value, board.prompt.value, board.generation = False, 'Once upon a time', None\n"
        "board.controls['max_tokens'].value, board.preset.value = 1024, 'neutral'\n"
        "board.controls['max_tokens'].value = 1024\n"
        "board.generate.click()\n"
        "while not (board.generation and board.generation.text): time.sleep(0.01)\n"
        "board.stop.click()\n"
        "while board.generation.finish_reason is None: time.sleep(0.01)\n"
        "board.generation.finish_reason, board.stop.disabled or time.sleep(0.3) or board.stop.disabled"
    )
    assert stopped.text.endswith("('abort', True)"), stopped
    wait_for(lambda: in_flight(served) == 0, 2)


def test_awaiting_in_a_cell_gives_what_waiting_gives(cell: Kernel, served: Running) -> None:
    cell("import aphrodite\nsession = aphrodite.connect()")
    both = cell(
        "waited = session.generate('Once upon a time', seed=3, max_tokens=20)\n"
        "awaited = await session.agenerate('Once upon a time', seed=3, max_tokens=20)\n"
        "stream = session.astream('Once upon a time', seed=3, max_tokens=20)\n"
        "streamed = [token_id async for event in stream for token_id in event.token_ids]\n"
        "waited[0].token_ids == awaited[0].token_ids == streamed"
    )
    assert both.text == "True", both
    running = cell.start("await session.agenerate('Once upon a time', max_tokens=None, ignore_eos=True)")
    wait_for(lambda: in_flight(served) > 0, 5)
    cell.interrupt()
    cell.finish(running)
    wait_for(lambda: in_flight(served) == 0, 2)


@pytest.mark.parametrize("mode", ["static", "plain"])
def test_without_a_live_display_there_is_one_output_or_text(served: Running, mode: str) -> None:
    with kernel(served, APHRODITE_DISPLAY=mode) as found:
        shown = found("%%aphrodite --chat --temperature 0 --interact temperature\nWhat is 39 + 48?")
        line = found('%aphrodite generate "Once upon a time" --max-tokens 8 -s 1')
    if mode == "static":
        assert len(shown.updates) == 1 and not shown.stdout
        assert len(line.updates) == 0 and line.value is not None
        times = next(iter(shown.metadata.values()))["aphrodite"]
        assert times["total_ms"] > 0 and "ms" not in next(iter(shown.displays.values()))["text/plain"]
    else:
        assert (shown.stdout, shown.updates) == ("87\n", []) and line.stdout.strip() and line.value is None


def test_a_line_s_answer_streams_and_is_its_value(cell: Kernel) -> None:
    shown = cell('%aphrodite generate "Once upon a time" --max-tokens 8 -s 1')
    assert len(shown.displays) == 1 and shown.value is None
    assert cell("_.text").text  # the cell's value, although it was not shown a second time
    kept: Output = cell('answer = %aphrodite chat "What is 39 + 48?" -t 0\nanswer.text')
    assert kept.value == {"text/plain": "'87'"}
    assert cell("answer").value["text/plain"] == "87"  # type: ignore[index]


def test_many_prompts_say_their_plan_first(cell: Kernel) -> None:
    cell("questions = [f'What is {n} + 48?' for n in range(20)]")
    shown = cell("answers = %aphrodite generate --prompts questions --chat -t 0 -n 2\nlen(answers), answers[19].text")
    assert shown.stdout == "20 prompts x 2 = 40 generations, up to 10,240 tokens\n" and not shown.stderr
    assert shown.text.endswith("(20, '67')")


def test_an_interrupt_keeps_the_prompts_that_are_answered(cell: Kernel, served: Running) -> None:
    before = answered(served)
    cell("prompts = ['What is 39 + 48?'] * 10 + ['Tell me a story.'] * 400")
    running = cell.start("some = %aphrodite generate --prompts prompts --chat -t 0")
    wait_for(lambda: answered(served) >= before + 10, 20)
    time.sleep(0.3)  # the kernel reads an answer a moment after the service has counted it
    cell.interrupt()
    stopped = cell.finish(running)
    assert not stopped.errors and "of 410 prompts are answered and kept" in stopped.stdout
    assert cell("10 <= len(some) < 410 and set(some.texts[:10]) == {'87'}").text == "True"
    wait_for(lambda: in_flight(served) == 0, 2)


def answered(served: Running) -> int:
    """Requests that are done, or under way."""
    with served.client(headers=served.admin) as client:
        status = client.get("/admin/status").json()
    return sum(key["usage"]["requests"] for key in status["keys"]) - status["in_flight"]
