"""What the tabs share: who is at the page, what runs, the model and the sampling fields."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import gradio as gr

from aphrodite.display.token_html import switch
from aphrodite_apps.dashboard.answer_view import SHADE
from aphrodite_apps.dashboard.run import Follow, Runs
from aphrodite_apps.dashboard.sampler_panel import SamplerPanel
from aphrodite_apps.dashboard.visitor import Visitors


@dataclass(frozen=True)
class Shared:
    """Handed to every tab.

    Attributes:
        model: the name that was chosen.
    """

    visitors: Visitors
    runs: Runs
    model: gr.Dropdown
    panel: SamplerPanel

    #: Of an event whose answer streams: everybody's runs at once, the engine has the queue.
    streaming: ClassVar[dict[str, Any]] = {
        "concurrency_limit": None,
        "show_progress": "hidden",
        "api_visibility": "private",
    }
    #: Of an event that must act while another one streams.
    quick: ClassVar[dict[str, Any]] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}

    def follow(self, request: gr.Request, tab: str) -> Follow:
        """Lets this page's stop button of this tab end the run."""
        return partial(self.runs.follow, f"{request.session_hash}/{tab}")

    def facts(self, tab: str) -> gr.HTML:
        """The line below a tab's answers, and beside it what the shades mean."""
        with gr.Row(elem_classes="under"):
            line = gr.HTML("", elem_id=f"{tab}-facts", padding=False)
            gr.HTML(switch(SHADE), elem_classes="shades", padding=False)
        return line

    def used(self, seed: int | None) -> Any:
        """The seed field, when an answer has used this one: it stays empty, so that the next answer has another."""
        return gr.update(placeholder=f"last: {seed}")

    def stopper(self, tab: str) -> Callable[..., None]:
        """What the tab's stop button does."""

        def stop(request: gr.Request) -> None:
            self.runs.stop(f"{request.session_hash}/{tab}")

        return stop
