"""The Chat tab: a conversation whose answers show their tokens."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr

from aphrodite.client import AsyncClient
from aphrodite_apps.dashboard import answer_view
from aphrodite_apps.dashboard.copying import copy_button
from aphrodite_apps.dashboard.notebook_cell import Asked, notebook_cell
from aphrodite_apps.dashboard.run import Follow, Run
from aphrodite_apps.dashboard.sampler_fields import fields_of
from aphrodite_apps.dashboard.shared import Shared
from aphrodite_engine.errors import AphroditeError

_EMPTY = """<div class="empty"><p>Ask something.</p>
<p>Every token of the answer is shaded: the stronger, the less likely it was.<br>
Hover over one to see what else could have come.</p></div>"""


@dataclass(frozen=True)
class Turn:
    """A question and its answer.

    Attributes:
        html: the answer as it is shown.
    """

    question: str
    answer: str
    html: str


@dataclass(frozen=True)
class View:
    """What the tab shows at one moment; None leaves a part as it is.

    Attributes:
        now: the turn that is being answered.
        cell: the last answered request as a notebook's cell.
        question: what goes back into the text field, to be sent again.
        seed: that was used.
    """

    turns: tuple[Turn, ...]
    now: str
    facts: str
    cell: str | None = None
    question: str | None = None
    seed: int | None = None
    is_running: bool = False


async def ask(
    client: AsyncClient,
    follow: Follow,
    question: str,
    turns: Sequence[Turn],
    system: str,
    model: str,
    values: Sequence[Any],
) -> AsyncGenerator[View]:
    """Ask, and show the answer while it comes; what was stopped stays, what failed can be sent again.

    Args:
        follow: makes the run stoppable and yields while it has news.
        values: of the sampler's controls.
    """
    before = tuple(turns)
    try:
        fields, messages = fields_of(values), conversation(before, system, question)
        run = Run(client.stream(messages, answer_view.params(fields), model=model or None))
    except AphroditeError as error:
        yield View(before, past(before), answer_view.wrong(str(error)), question=question)
        return
    async for _ in follow(run):
        if not run.is_over:
            yield View(before, _said(question, answer_view.answer(run)), answer_view.facts(run), is_running=True)
    if run.error is not None or not run.output.token_ids:
        yield View(before, "", answer_view.facts(run), question=question)
        return
    turn = Turn(question, run.output.text, answer_view.answer(run))
    seed = run.output.seed
    cell = notebook_cell(Asked(model, messages, {**fields, "seed": seed}))
    yield View((*before, turn), "", answer_view.facts(run), cell=cell, seed=seed)


def conversation(turns: Sequence[Turn], system: str, question: str) -> list[dict[str, str]]:
    """The messages of a request."""
    messages = [{"role": "system", "content": system}] if system.strip() else []
    for turn in turns:
        messages += [{"role": "user", "content": turn.question}, {"role": "assistant", "content": turn.answer}]
    return [*messages, {"role": "user", "content": question}]


def past(turns: Sequence[Turn]) -> str:
    """The turns that are over."""
    return "".join(_said(turn.question, turn.html) for turn in turns)


def _said(question: str, answer: str) -> str:
    return f'<div class="you">{escape(question)}</div><div class="it">{answer}</div>'


def build(shared: Shared) -> None:
    """Draw the tab and connect its handlers."""
    turns = gr.State(())
    with gr.Column(elem_id="talk"):
        said = gr.HTML(_EMPTY, elem_id="chat-past", padding=False)
        now = gr.HTML("", elem_id="chat-now", padding=False)
    facts = shared.facts("chat")
    question = gr.Textbox(
        placeholder="Ask something. Enter sends, Shift+Enter starts a new line.", show_label=False, label="Question",
        lines=1, max_lines=8, autofocus=True, submit_btn="Send", elem_id="chat-question",
    )  # fmt: skip
    cell = gr.Textbox(visible="hidden", elem_id="chat-cell", label="Notebook cell")
    with gr.Row(elem_classes="buttons"):
        again = gr.Button("Answer again", size="sm", elem_id="chat-again", interactive=False)
        new = gr.Button("New conversation", size="sm", elem_id="chat-new", interactive=False)
        copy = copy_button("Copy as notebook cell", cell, "chat-copy")
    with gr.Accordion("System message", open=False):
        system = gr.Textbox(
            "",
            show_label=False, label="System message", lines=2, elem_id="chat-system",
            placeholder="Who the model is to be. Empty is none.",
        )  # fmt: skip

    def parts(view: View, is_first: bool) -> dict[Any, Any]:
        """The view as updates; while an answer comes only what changes, so that the next question can be typed."""
        if view.is_running:
            starting = {question: gr.update(value="", submit_btn=False, stop_btn="Stop"), said: past(view.turns),
                        again: gr.update(interactive=False), new: gr.update(interactive=False)}  # fmt: skip
            return {now: view.now, facts: view.facts} | (starting if is_first else {})
        found = {now: "", facts: view.facts, turns: view.turns, said: past(view.turns) or _EMPTY}
        found |= {again: gr.update(interactive=bool(view.turns)), new: gr.update(interactive=bool(view.turns))}
        # A short answer is whole before there was anything to show: then the question is taken away only now.
        left = "" if is_first and view.question is None else view.question
        back: dict[str, Any] = {} if left is None else {"value": left}
        found[question] = gr.update(submit_btn="Send", stop_btn=False, **back)
        if view.cell is None:
            return found
        return found | {cell: view.cell, copy: gr.update(interactive=True), seed: shared.used(view.seed)}

    async def on_ask(
        text: str, before: Sequence[Turn], instructions: str, model: str, request: gr.Request, *values: Any
    ) -> AsyncGenerator[dict[Any, Any]]:
        if not text.strip():
            return
        follow, client = shared.follow(request, "chat"), shared.visitors.client(request)
        is_first = True
        async for view in ask(client, follow, text, before, instructions, model, values):
            yield parts(view, is_first)
            is_first = False

    async def on_again(
        before: Sequence[Turn], instructions: str, model: str, request: gr.Request, *values: Any
    ) -> AsyncGenerator[dict[Any, Any]]:
        if before:
            async for updates in on_ask(before[-1].question, before[:-1], instructions, model, request, *values):
                yield updates

    given = [turns, system, shared.model, *shared.panel.controls]
    seed = shared.panel.seed
    changed = [turns, said, now, facts, question, cell, copy, again, new, seed]
    question.submit(on_ask, [question, *given], changed, **shared.streaming)
    again.click(on_again, given, changed, **shared.streaming)
    question.stop(shared.stopper("chat"), None, None, **shared.quick)
    new.click(lambda: ((), _EMPTY, "", ""), None, [turns, said, now, facts], **shared.quick)
