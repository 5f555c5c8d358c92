"""The whole page: the model and the tabs on the left, the sampling fields on the right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
from gradio import themes

from aphrodite.display.token_html import STYLE
from aphrodite_apps.dashboard import answer_view, sampler_panel
from aphrodite_apps.dashboard.run import Runs
from aphrodite_apps.dashboard.shared import Shared
from aphrodite_apps.dashboard.tabs import chat, completion
from aphrodite_apps.dashboard.visitor import Visitors
from aphrodite_engine.errors import AphroditeError

_HERE = Path(__file__).parent
HEAD = STYLE + f"<script>{(_HERE / 'page.js').read_text()}</script>"
_TABS = {"Chat": chat, "Completion": completion}


def theme() -> themes.Base:
    """The machine's own fonts: nothing is loaded."""
    return themes.Default(
        primary_hue=themes.colors.teal, secondary_hue=themes.colors.teal, neutral_hue=themes.colors.slate,
        font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"], text_size=themes.sizes.text_sm,
    )  # fmt: skip


def style() -> str:
    """What the theme has no word for."""
    return (_HERE / "style.css").read_text()


def build(visitors: Visitors) -> gr.Blocks:
    """Draw the page."""
    runs = Runs()
    with gr.Blocks(title="Aphrodite", analytics_enabled=False, fill_width=True) as blocks:
        with gr.Row(elem_id="head"):
            gr.HTML("<h1>Aphrodite</h1>", elem_id="brand", padding=False)
            model = gr.Dropdown([], label="Model", show_label=False, container=False, elem_id="model", scale=0)
        trouble = gr.HTML("", elem_id="trouble", padding=False)
        with gr.Row(elem_id="body"):
            main = gr.Column(scale=3, min_width=320, elem_id="main")
            with gr.Column(scale=1, min_width=300, elem_id="sampler"):
                panel = sampler_panel.build()
        shared = Shared(visitors, runs, model, panel)
        with main, gr.Tabs():
            for title, tab in _TABS.items():
                with gr.Tab(title), gr.Column(elem_classes="aphrodite"):
                    tab.build(shared)

        async def served(chosen: str | None, request: gr.Request) -> tuple[Any, str]:
            return await _models(visitors, chosen, request)

        def leave(request: gr.Request) -> None:
            runs.stop_all(f"{request.session_hash}/")

        blocks.load(served, model, [model, trouble], **shared.quick)
        model.focus(served, model, [model, trouble], **shared.quick)
        blocks.unload(leave)
    blocks.queue(default_concurrency_limit=None)
    return blocks


async def _models(visitors: Visitors, chosen: str | None, request: gr.Request) -> tuple[Any, str]:
    """The served names; the one that was chosen stays as long as it is served."""
    try:
        names = [found.id for found in await visitors.client(request).models()]
    except AphroditeError as error:
        return gr.skip(), answer_view.wrong(str(error))
    if not names:
        return gr.update(choices=[], value=None), answer_view.wrong("no model is loaded: `aphrodite load` loads one")
    return gr.update(choices=names, value=chosen if chosen in names else names[0]), ""
