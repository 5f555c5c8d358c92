"""The Completion tab: a text that the model writes on, without any template around it."""

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

_EMPTY = """<div class="empty"><p>The text and what the model writes after it appear here.</p></div>"""


@dataclass(frozen=True)
class View:
    """What the tab shows at one moment.

    Attributes:
        written: the prompt with what was written on.
        text: the same as plain text, to write on from; None until the end.
        cell: the request as a notebook's cell.
        seed: that was used.
    """

    written: str
    facts: str
    text: str | None = None
    cell: str | None = None
    seed: int | None = None
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
        fields = fields_of(values)
        run = Run(client.stream(prompt, answer_view.params(fields), model=model or None))
    except AphroditeError as error:
        yield View(_EMPTY, answer_view.wrong(str(error)))
        return
    async for _ in follow(run):
        if not run.is_over:
            yield View(written(prompt, answer_view.answer(run)), answer_view.facts(run), is_running=True)
    if run.error is not None:
        yield View(_EMPTY, answer_view.facts(run))
        return
    seed = run.output.seed
    cell = notebook_cell(Asked(model, prompt, {**fields, "seed": seed}))
    shown = written(prompt, answer_view.answer(run))
    yield View(shown, answer_view.facts(run), prompt + run.output.text, cell, seed)


def written(prompt: str, answer: str) -> str:
    """The prompt, and after it what was written."""
    return f'<div class="written"><span class="prompt">{escape(prompt)}</span>{answer}</div>'


def build(shared: Shared) -> None:
    """Draw the tab and connect its handlers."""
    whole = gr.State(None)
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

    def parts(view: View, is_first: bool) -> dict[Any, Any]:
        found: dict[Any, Any] = {shown: view.written, facts: view.facts}
        if view.is_running:
            return found | ({prompt: gr.update(submit_btn=False, stop_btn="Stop")} if is_first else {})
        found[prompt] = gr.update(submit_btn="Write on", stop_btn=False)
        if view.cell is None:
            return found
        ready = gr.update(interactive=True)
        return found | {whole: view.text, cell: view.cell, copy: ready, go_on: ready, seed: shared.used(view.seed)}

    async def on_write(text: str, model: str, request: gr.Request, *values: Any) -> AsyncGenerator[dict[Any, Any]]:
        follow, client = shared.follow(request, "completion"), shared.visitors.client(request)
        is_first = True
        async for view in write_on(client, follow, text, model, values):
            yield parts(view, is_first)
            is_first = False

    seed = shared.panel.seed
    changed = [shown, facts, prompt, whole, cell, copy, go_on, seed]
    prompt.submit(on_write, [prompt, shared.model, *shared.panel.controls], changed, **shared.streaming)
    prompt.stop(shared.stopper("completion"), None, None, **shared.quick)
    go_on.click(lambda text: text, whole, prompt, **shared.quick)
