"""The Completion tab: a text that the model writes on, without any template around it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace
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
from aphrodite_apps.dashboard.token_look import look
from aphrodite_engine.errors import AphroditeError
from aphrodite_engine.outputs import CompletionOutput
from aphrodite_engine.prompts import Continuation

_EMPTY = """<div class="empty"><p>The text and what the model writes after it appear here.</p></div>"""


@dataclass(frozen=True)
class View:
    """What the tab shows at one moment.

    Attributes:
        written: the prompt with what was written on.
        text: the same as plain text, to write on from; None until the end.
        asked, output: the request and what it gave; None until the end.
    """

    written: str
    facts: str
    text: str | None = None
    asked: Asked | None = None
    output: CompletionOutput | None = None
    is_running: bool = False


async def write_on(
    client: AsyncClient, follow: Follow, prompt: str, model: str, values: Sequence[Any]
) -> AsyncGenerator[View]:
    """Write on from the prompt, and show it while it comes.

    Args:
        follow: makes the run stoppable and yields while it has news.
        values: of the sampler's controls.
    """
    try:
        asked = Asked(model, prompt, fields_of(values))
    except AphroditeError as error:
        yield View(_EMPTY, answer_view.wrong(str(error)))
        return
    async for view in write(client, follow, asked):
        yield view


async def write(client: AsyncClient, follow: Follow, asked: Asked) -> AsyncGenerator[View]:
    """Write on from a prompt, and from what was given behind it."""
    prompt = asked.prompt
    assert isinstance(prompt, str)  # this tab has no conversations
    try:
        run = Run(
            client.stream(
                prompt, answer_view.params(asked.fields), model=asked.model or None,
                continuation=Continuation(asked.given) if asked.given else None,
            )
        )  # fmt: skip
    except AphroditeError as error:
        yield View(_EMPTY, answer_view.wrong(str(error)))
        return
    async for _ in follow(run):
        if not run.is_over:
            yield View(written(prompt, answer_view.answer(run)), answer_view.facts(run), is_running=True)
    if run.error is not None:
        yield View(_EMPTY, answer_view.facts(run))
        return
    done = replace(asked, fields={**asked.fields, "seed": run.output.seed})
    shown = written(prompt, answer_view.answer(run))
    yield View(shown, answer_view.facts(run), prompt + run.output.text, done, run.output)


def written(prompt: str, answer: str) -> str:
    """The prompt, and after it what was written."""
    return f'<div class="written"><span class="prompt">{escape(prompt)}</span>{answer}</div>'


def build(shared: Shared) -> None:
    """Draw the tab and connect its handlers."""
    whole, answered = gr.State(None), gr.State(None)
    prompt = gr.Textbox(
        "Once upon a time", label="Text", lines=5, max_lines=16, submit_btn="Write on", elem_id="completion-prompt",
        info="Shift+Enter writes on.",
    )  # fmt: skip
    facts = shared.facts("completion")
    shown = gr.HTML(_EMPTY, elem_id="completion-written", padding=False)
    cell = gr.Textbox(visible="hidden", elem_id="completion-cell", label="Notebook cell")
    with gr.Row(elem_classes="buttons"):
        go_on = gr.Button("Take as the text", size="sm", interactive=False, elem_id="completion-take")
        copy = copy_button("Copy as notebook cell", cell, "completion-copy")
    with gr.Row(visible=False, elem_classes="looking") as looking:
        place = gr.Number(None, label="Token", info="or click one above", precision=0, elem_id="completion-token",
                          min_width=120, scale=0)  # fmt: skip
        others = gr.Radio([], label="Write on from there with", elem_id="completion-others")
    looked = gr.HTML("", elem_id="completion-look", padding=False)

    def parts(view: View, is_first: bool) -> dict[Any, Any]:
        found: dict[Any, Any] = {shown: view.written, facts: view.facts}
        if view.is_running:
            return found | ({prompt: gr.update(submit_btn=False, stop_btn="Stop")} if is_first else {})
        found[prompt] = gr.update(submit_btn="Write on", stop_btn=False)
        if view.asked is None or view.output is None:
            return found
        ready, used = gr.update(interactive=True), shared.used(view.output.seed)
        found |= {whole: view.text, cell: notebook_cell(view.asked), copy: ready, go_on: ready, seed: used}
        found |= {answered: (view.asked, view.output), place: None, looked: ""}
        return found | {looking: gr.update(visible=True), others: gr.update(choices=[], value=None, visible=False)}

    async def on_write(text: str, model: str, request: gr.Request, *values: Any) -> AsyncGenerator[dict[Any, Any]]:
        follow, client = shared.follow(request, "completion"), shared.visitors.client(request)
        is_first = True
        async for view in write_on(client, follow, text, model, values):
            yield parts(view, is_first)
            is_first = False

    async def on_look(
        at: float | None, was: tuple[Asked, CompletionOutput] | None, request: gr.Request
    ) -> tuple[Any, Any]:
        if at is None or was is None:
            return "", gr.update(visible=False)
        found = await look(shared.visitors.client(request), *was, int(at))
        return found.html, gr.update(choices=list(found.others), value=None, visible=bool(found.others))

    async def on_other(
        token_id: int | None, at: float, was: tuple[Asked, CompletionOutput], request: gr.Request
    ) -> AsyncGenerator[dict[Any, Any]]:
        if token_id is None:
            return
        follow, client = shared.follow(request, "completion"), shared.visitors.client(request)
        asked, output = was
        given = (*output.token_ids[: int(at)], token_id)
        is_first = True
        async for view in write(client, follow, replace(asked, given=given)):
            yield parts(view, is_first)
            is_first = False

    seed = shared.panel.seed
    changed = [shown, facts, prompt, whole, cell, copy, go_on, seed, answered, place, looked, looking, others]
    prompt.submit(on_write, [prompt, shared.model, *shared.panel.controls], changed, **shared.streaming)
    prompt.stop(shared.stopper("completion"), None, None, **shared.quick)
    place.change(on_look, [place, answered], [looked, others], **shared.quick)
    others.input(on_other, [others, place, answered], changed, **shared.streaming)
    go_on.click(lambda text: text, whole, prompt, **shared.quick)
