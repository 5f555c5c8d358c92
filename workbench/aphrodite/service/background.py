"""Answers that go on after their callers have left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any


class EventLog:
    """Events of one answer, for readers who come and go."""

    def __init__(self) -> None:
        self._events: list[bytes] = []
        self._ended = False
        self._news = asyncio.Condition()

    async def append(self, event: bytes) -> None:
        self._events.append(event)
        await self._tell()

    async def end(self) -> None:
        """There will be no more."""
        self._ended = True
        await self._tell()

    async def follow(self, start: int = 0) -> AsyncGenerator[bytes]:
        """Events from number `start` on: those that were, and those that come."""
        while news := await self._after(start):
            start += len(news)
            yield b"".join(news)

    async def _after(self, place: int) -> list[bytes]:
        """What follows, as soon as there is something; [] at the end."""
        async with self._news:
            await self._news.wait_for(lambda: self._ended or len(self._events) > place)
        return self._events[place:]

    async def _tell(self) -> None:
        async with self._news:
            self._news.notify_all()


@dataclass
class Job:
    """One such answer."""

    log: EventLog = field(default_factory=EventLog)
    task: asyncio.Task[None] | None = None


class Background:
    """Jobs that run, by the id of what they make."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}

    def start(self, job_id: str, work: Callable[[Job], Coroutine[Any, Any, None]]) -> Job:
        """Begin; `work` gets the job, whose log it writes."""
        job = self._jobs[job_id] = Job()
        job.task = asyncio.create_task(self._run(job_id, job, work))
        return job

    def find(self, job_id: str) -> Job | None:
        """One that still runs."""
        return self._jobs.get(job_id)

    async def cancel(self, job_id: str) -> None:
        """End one, if it runs, and wait until it has."""
        job = self._jobs.get(job_id)
        if job is not None and job.task is not None:
            job.task.cancel()
            await asyncio.wait({job.task})

    async def close(self) -> None:
        """End them all."""
        for job_id in list(self._jobs):
            await self.cancel(job_id)

    async def _run(self, job_id: str, job: Job, work: Callable[[Job], Coroutine[Any, Any, None]]) -> None:
        try:
            await work(job)
        finally:
            del self._jobs[job_id]
            await job.log.end()
