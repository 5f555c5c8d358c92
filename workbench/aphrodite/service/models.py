"""Which models are served, under which names, by which engine process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from aphrodite.service.boundary import Facts
from aphrodite.service.engine_process import EngineFailure, EngineProcess, State
from aphrodite.service.errors import ApiError, bad_request, unavailable
from aphrodite.service.settings import ModelSettings


class Models:
    """The engine processes by the names of their models."""

    def __init__(self, directory: Path, command: Sequence[str] = ()) -> None:
        self._directory, self._command = directory, tuple(command)
        self._engines: dict[str, EngineProcess] = {}
        self.created: dict[str, int] = {}
        self._changing = asyncio.Lock()

    def __iter__(self) -> Iterator[EngineProcess]:
        return iter(list(self._engines.values()))

    def names(self) -> dict[str, EngineProcess]:
        """Every served name."""
        return {name: engine for engine in self for name in engine.settings.all_names}

    def ids(self) -> list[str]:
        """One id a model, in the order they were loaded."""
        return list(self._engines)

    def find(self, name: str) -> EngineProcess:
        """The engine that serves `name`, in whatever state it is.

        Raises:
            ApiError: 404 model_not_found.
        """
        engine = self.names().get(name)
        if engine is None:
            known = ", ".join(self.names()) or "none is loaded"
            raise ApiError(
                404,
                f"the model {name[:120]!r} does not exist; served here: {known}",
                param="model",
                code="model_not_found",
            )
        return engine

    def ready(self, name: str) -> tuple[EngineProcess, Facts]:
        """The engine that serves `name`, able to take work now.

        Raises:
            ApiError: 404 unknown, 503 loading, asleep, restarting or failed.
        """
        engine = self.find(name)
        if engine.state is State.READY and engine.facts is not None:
            return engine, engine.facts
        if engine.state is State.ASLEEP:
            raise unavailable(f"{name} is asleep; `aphrodite wake` loads it again", "model_asleep", 30)
        if engine.state is State.FAILED:
            raise unavailable(f"{name} could not be loaded", "model_failed", 60)
        raise unavailable(f"{name} is {engine.state.value}; try again in a moment", f"model_{engine.state.value}")

    def only(self) -> str | None:
        """The id of the one model, where there is one only."""
        return self.ids()[0] if len(self._engines) == 1 else None

    async def load(self, settings: ModelSettings) -> EngineProcess:
        """Load one more model.

        Raises:
            ApiError: 409 when a name is taken, 400 when the model is refused; nothing stays behind.
        """
        async with self._changing:
            taken = [name for name in settings.all_names if name in self.names()]
            if taken:
                raise ApiError(409, f"a model is already served as {taken[0]!r}; unload it first", code="name_taken")
            engine = EngineProcess(settings, self._directory, self._command)
            self._engines[settings.id] = engine
            self.created[settings.id] = int(time.time())
            try:
                await engine.start()
            except BaseException as error:
                await engine.stop()
                del self._engines[settings.id]
                if isinstance(error, EngineFailure):
                    raise bad_request(error.problem.message, "model", "model_refused") from error
                raise
            return engine

    async def unload(self, name: str) -> None:
        """Stop serving a model and give its memory back."""
        async with self._changing:
            engine = self.find(name)
            await engine.stop()
            del self._engines[engine.settings.id]

    async def sleep(self, name: str) -> None:
        """Give the memory back, keep the name."""
        async with self._changing:
            await self.find(name).stop(State.ASLEEP)

    async def wake(self, name: str) -> None:
        """Load a sleeping model again; one that is awake stays as it is."""
        async with self._changing:
            engine = self.find(name)
            if engine.state is State.READY:
                return
            try:
                await engine.start()
            except EngineFailure as error:
                raise bad_request(error.problem.message, "model", "model_refused") from error

    async def close(self) -> None:
        """Stop every engine process."""
        await asyncio.gather(*(engine.stop() for engine in self))
