"""Prompt, preset, a few sliders, two buttons and an answer: what `%aphrodite play` shows."""

from __future__ import annotations

from concurrent.futures import Future
from html import escape
from typing import TYPE_CHECKING, Any

from aphrodite.display.generation import Generation
from aphrodite.magics.asked import Asked, params_of
from aphrodite.magics.controls import control
from aphrodite.magics.follow import follow_beside
from aphrodite.magics.notebook import Message, Notebook
from aphrodite.presets import Presets, differences
from aphrodite_engine.errors import AphroditeError
from aphrodite_engine.params import SamplingParams

if TYPE_CHECKING:  # the client takes a moment to import that only the first request pays
    from aphrodite.client.async_client import AsyncClient

_FIELDS = ("temperature", "top_p", "min_p", "max_tokens")
_PAUSE = 0.05
_FALLBACK = "A playground: run this cell in a notebook to use it."


class PlayBoard:
    """The playground of one cell.

    Everything runs in the client's own thread, so its buttons answer while an answer comes.

    Attributes:
        generation: the newest answer, as far as it has come.
    """

    def __init__(self, notebook: Notebook, model: str, prompt: str) -> None:
        import ipywidgets as widgets

        self._notebook, self._model, self._presets = notebook, model, Presets()
        self.generation: Generation | None = None
        self._running: Future[None] | None = None
        self._turn = 0
        wide, narrow = widgets.Layout(width="44em"), widgets.Layout(width="10em")
        self.prompt = widgets.Textarea(value=prompt, placeholder="Write a prompt", rows=4, layout=wide)
        self.is_chat = widgets.Checkbox(value=True, description="as a chat", indent=False, layout=narrow)
        self.preset = widgets.Dropdown(options=self._presets.names(), value="neutral", description="preset")
        neutral = SamplingParams()
        self.controls = {name: control(name, getattr(neutral, name)) for name in _FIELDS}
        self.generate = widgets.Button(description="Generate", button_style="primary", icon="play")
        self.stop = widgets.Button(description="Stop", icon="stop", disabled=True)
        self.answer = widgets.HTML(layout=wide)
        self._box = widgets.VBox([
            self.prompt, widgets.HBox([self.is_chat, self.preset]), *self.controls.values(),
            widgets.HBox([self.generate, self.stop]), self.answer,
        ])  # fmt: skip
        self.generate.on_click(self._start)
        self.stop.on_click(self._stop)
        self.preset.observe(self._take_preset, "value")

    def __repr__(self) -> str:
        return _FALLBACK

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        return (self._box._repr_mimebundle_() or {}) | {"text/plain": _FALLBACK, "text/html": f"<i>{_FALLBACK}</i>"}

    def _take_preset(self, change: Any) -> None:
        """The sliders show the preset; what it leaves out is neutral."""
        given, neutral = self._presets.read(str(self.preset.value)), SamplingParams()
        for name, one in self.controls.items():
            one.value = given.get(name, getattr(neutral, name))

    def _start(self, button: Any) -> None:
        self._stop(button)
        try:
            request, client = self._request(), self._notebook.client()
        except AphroditeError as error:
            self._tell(str(error))
            return
        self._turn += 1
        turn, self.stop.disabled = self._turn, False
        self._running = client.start(lambda remote: self._answer(remote, request, turn))

    def _stop(self, button: Any) -> None:
        if self._running is not None:
            self._running.cancel()

    def _request(self) -> Asked:
        fields = self._presets.read(str(self.preset.value)) | {name: one.value for name, one in self.controls.items()}
        given, text = differences(fields), self.prompt.value
        talk: list[Message] = [{"role": "user", "content": text}]
        return Asked(talk if self.is_chat.value else text, params_of(given), given, self._model)

    async def _answer(self, remote: AsyncClient, request: Asked, turn: int) -> None:
        try:
            self.generation = await follow_beside(remote, request, self)
        except AphroditeError as error:
            self._tell(str(error))
        finally:
            if turn == self._turn:  # else the next one is under way already
                self.stop.disabled = True

    # ---- a screen, for follow_beside

    pause = _PAUSE

    def update(self, generation: Generation) -> None:
        self.generation = generation
        self.answer.value = generation._repr_mimebundle_()[0]["text/html"]

    def finish(self, generation: Generation) -> None:
        self.update(generation)

    def _tell(self, message: str) -> None:
        self.answer.value = f"<i>{escape(message)}</i>"
