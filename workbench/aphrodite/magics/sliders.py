"""`--interact`: controls below an answer; moving one asks again and writes the answer over."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from IPython.display import display

from aphrodite.display.generation import Generation
from aphrodite.magics.asked import Asked
from aphrodite.magics.follow import follow_beside
from aphrodite.magics.notebook import Notebook
from aphrodite.magics.screens import LiveScreen
from aphrodite_engine.errors import AphroditeError

if TYPE_CHECKING:  # the client takes a moment to import that only the first request pays
    from aphrodite.client.async_client import AsyncClient

#: A slider that is being drawn reports every step; only where it rests is asked about.
_DEBOUNCE = 0.15


class Sliders:
    """Controls of one request.

    Args:
        controls: by field.
        screen: where the answer is shown, and written over.
        into: the variable that gets each new answer.
    """

    def __init__(
        self, notebook: Notebook, request: Asked, controls: Mapping[str, Any], screen: LiveScreen, into: str | None
    ) -> None:
        self._notebook, self._request, self._screen, self._into = notebook, request, screen, into
        self.controls = controls
        self._running: Future[Generation] | None = None

    def show(self) -> None:
        """Below the answer."""
        import ipywidgets as widgets

        for one in self.controls.values():
            one.observe(self._ask_again, "value")
        display(widgets.VBox(list(self.controls.values())))

    def _ask_again(self, change: Any) -> None:
        if self._running is not None:
            self._running.cancel()
        try:
            client = self._notebook.client()
            changed = self._request.with_fields(**{name: one.value for name, one in self.controls.items()})
        except AphroditeError as error:
            self._screen.tell(str(error))
            return
        self._running = client.start(lambda remote: self._answer(remote, changed))

    async def _answer(self, remote: AsyncClient, request: Asked) -> Generation:
        await asyncio.sleep(_DEBOUNCE)
        try:
            generation = await follow_beside(remote, request, self._screen)
        except AphroditeError as error:
            self._screen.tell(str(error))
            raise
        if self._into:
            self._notebook.names[self._into] = generation
        return generation
