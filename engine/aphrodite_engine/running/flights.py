"""The steps on their way: the one that is read next and, where that may be, one launched behind it.

While the device runs a step, the host reads the one before, tells its news and prepares the next. A step that follows
one whose tokens nobody has read takes them from the device. Some sequences of it may turn out to be over: their rows
are dropped. The others' rows stand, since a row does not depend on its company.
"""

from __future__ import annotations

from collections.abc import Sequence as Chunks

from aphrodite_engine.pulse import Pulse
from aphrodite_engine.request import Sequence
from aphrodite_engine.running.flight import Flight
from aphrodite_engine.running.runner import Runner
from aphrodite_engine.scheduler import Chunk, Scheduler, Unread
from aphrodite_engine.sequence_text import Limits


class Flights:
    """Launches what the scheduler plans, one step ahead of what is read where `run_ahead` is set.

    Attributes:
        at_stake: the chunks that fail where something is raised now; None before any were planned.
    """

    def __init__(self, runner: Runner, scheduler: Scheduler, limits: Limits, pulse: Pulse, run_ahead: bool) -> None:
        self._runner, self._scheduler, self._limits, self._pulse = runner, scheduler, limits, pulse
        self._run_ahead = run_ahead
        self._front: Flight | None = None
        self.at_stake: Chunks[Chunk] | None = None

    def land(self) -> Flight | None:
        """The next step, read; None where there is nothing to run. Behind it another may be in the air by then."""
        self.at_stake = None
        front = self._front = self._front or self._launch(self._scheduler.schedule(), None)
        if front is None:
            return None
        behind = self._launch(self._plan_behind(front), front)  # where this raises, the front is read another time
        self._front = None
        self.at_stake = (*front.chunks, *(behind.chunks if behind else ()))
        with self._pulse.during(front.num_tokens):
            front.read()
        self._front, self.at_stake = behind, front.chunks
        return front

    def forget(self) -> None:
        """Read nothing of what is in the air: nobody waits for it."""
        self._front = self.at_stake = None

    def _launch(self, chunks: list[Chunk], front: Flight | None) -> Flight | None:
        if not chunks:
            return None
        self.at_stake = chunks
        with self._pulse.during(sum(chunk.length for chunk in chunks)):
            flight = self._runner.launch(chunks, self._limits.eos_token_ids, front and front.draws)
        self._scheduler.update(chunks)
        return flight

    def _plan_behind(self, front: Flight) -> list[Chunk]:
        """Nothing, where there is nothing unread to run ahead of, or where anybody's next draw needs the host."""
        if not self._run_ahead or front.draws is None:
            return []
        scheduler = self._scheduler
        if any(map(_needs_host, scheduler.running)) or any(map(_needs_host, scheduler.waiting)):
            return []
        rows = {result.chunk.sequence: row for row, result in enumerate(front.drawing)}
        return scheduler.schedule_behind(Unread(rows, frozenset(filter(self._ends, rows))))

    def _ends(self, sequence: Sequence) -> bool:
        """Whether a sequence is full with the token that nobody has read."""
        return self._limits.is_full(sequence, unread=1)


def _needs_host(sequence: Sequence) -> bool:
    return sequence.request.needs_host or sequence.num_output + 1 < sequence.request.params.min_tokens
