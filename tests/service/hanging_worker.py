"""An engine process that is real but for one prompt, whose step never ends; it goes on answering pings."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence

from aphrodite.service.engines import worker

COMMAND = (sys.executable, "-m", "tests.service.hanging_worker")
#: The prompt, as token ids.
HANGS = [7, 77, 7, 77, 7]


def main() -> None:
    from aphrodite_engine.running.flight import Draws, Flight
    from aphrodite_engine.running.runner import Runner
    from aphrodite_engine.scheduler import Chunk

    launch = Runner.launch

    def launch_or_hang(
        self: Runner, chunks: Sequence[Chunk], eos_token_ids: tuple[int, ...], front: Draws | None = None
    ) -> Flight:
        if any(list(chunk.sequence.request.prompt_token_ids) == HANGS for chunk in chunks):
            threading.Event().wait()
        return launch(self, chunks, eos_token_ids, front)

    Runner.launch = launch_or_hang
    worker.main()


if __name__ == "__main__":
    main()
