"""Where an answer appears while it comes: a live output, printed text, or one final output."""

from __future__ import annotations

import time
from typing import Protocol

from IPython.display import DisplayHandle, display

from aphrodite.display.generation import Generation

#: Seconds between two updates of a streaming output: more than 20 a second nobody sees.
_PAUSE = 0.05
#: Showing may take this share of a processor, however long the text gets.
_SHARE = 0.1


class Screen(Protocol):
    """What an answer is shown on.

    Attributes:
        pause: seconds until the next update is worth its while.
    """

    pause: float

    def update(self, generation: Generation) -> None:
        """More has come."""
        ...

    def finish(self, generation: Generation) -> None:
        """Nothing more comes."""
        ...


class LiveScreen:
    """One output that is written over."""

    def __init__(self) -> None:
        self.pause = _PAUSE
        self._handle: DisplayHandle | None = None

    def update(self, generation: Generation) -> None:
        started = time.thread_time()
        if self._handle is None:
            self._handle = display(generation, display_id=True)
        else:
            self._handle.update(generation)
        self.pause = max(_PAUSE, (time.thread_time() - started) / _SHARE)

    def finish(self, generation: Generation) -> None:
        self.update(generation)

    def tell(self, message: str) -> None:
        """Why there is no answer, in its place."""
        if self._handle is not None:
            self._handle.update({"text/plain": message}, raw=True)


class PrintedScreen:
    """Text as it comes, for terminals and for those who want text only; of several sequences one after the other."""

    def __init__(self) -> None:
        self.pause = _PAUSE
        self._sequence = self._length = 0

    def update(self, generation: Generation) -> None:
        outputs = generation.result.outputs
        while self._sequence < len(outputs):
            output = outputs[self._sequence]
            if len(outputs) > 1 and self._length == 0 and output.text:
                print(f"[{output.index}] ", end="")
            print(output.text[self._length :], end="", flush=True)
            self._length = len(output.text)
            if output.finish_reason is None:
                return
            print(flush=True)
            self._sequence, self._length = self._sequence + 1, 0

    def finish(self, generation: Generation) -> None:
        self.update(generation)


class FinalScreen:
    """One output, when all is there."""

    pause = _PAUSE

    def update(self, generation: Generation) -> None:
        """Nothing is shown before the end."""

    def finish(self, generation: Generation) -> None:
        display(generation)


class NoScreen:
    """For what is shown as the cell's value."""

    pause = _PAUSE

    def update(self, generation: Generation) -> None:
        """Nothing is shown here."""

    def finish(self, generation: Generation) -> None:
        """Nothing is shown here."""
