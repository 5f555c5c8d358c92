"""Which models are served, under which names, by which engine process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from aphrodite.service.engines.boundary import Facts
from aphrodite.service.engines.engine_process import EngineProcess, State
from aphrodite.service.errors import ApiError, bad_request, unavailable
from aphrodite.service.generation import EngineFailure, Observer
from aphrodite.service.settings import ModelSettings

#: Characters of a served name; Hugging Face ids have up to 96.
MAX_NAME = 200


class Models:
    """The engine processes by the names of their models."""

    def __init__(
        self, directory: Path, observer: Observer, command: Sequence[str] = (), hung_seconds: float = 30.0
    ) -> None:
        self._directory, self._observer, self._command = directory, observer, tuple(command)
        self._hung_seconds = hung_seconds
        self._engines: dict[str, EngineProcess] = {}
        self.created: dict[str, int] = {}
        # One after the other, so that each plans with the memory that is really free.
        self._starting = asyncio.Lock()

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
        engine = self._engines.get(name) or self.names().get(name)
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
            ApiError: 404 unknown, 503 loading, asleep, silent or restarting.
        """
        engine = self.find(name)
        if engine.state is State.READY and engine.facts is not None:
            return engine, engine.facts
        if engine.state is State.ASLEEP:
            raise unavailable(f"{name} is asleep; `aphrodite wake {name}` loads it again", "model_asleep", 30)
        raise unavailable(f"{name} is {engine.state.value}; try again in a moment", f"model_{engine.state.value}")

    def only(self) -> str | None:
        """The id of the one model, where there is one only."""
        return self.ids()[0] if len(self._engines) == 1 else None

    async def load(self, settings: ModelSettings) -> EngineProcess:
        """Load one more model; cancelling the task ends it.

        Raises:
            ApiError: 409 when a name is taken, 400 when a name or the model is refused; nothing stays behind.
        """
        settings = msgspec.structs.replace(settings, names=settings.all_names)  # a folder that goes keeps its name
        for name in settings.names:
            _check_name(name)
        taken = [name for name in settings.names if name in self.names()]
        if taken:
            raise ApiError(409, f"a model is already served as {taken[0]!r}; unload it first", code="name_taken")
        engine = EngineProcess(
            settings, self._directory, self._observer, self._command, self._promised_to_others, self._hung_seconds
        )
        self._engines[settings.id] = engine
        self.created[settings.id] = int(time.time())
        try:
            await self._start(engine)
        except BaseException:
            await engine.stop()
            self._forget(engine)
            raise
        return engine

    async def unload(self, name: str) -> None:
        """Stop serving a model and give its memory back; one that is still loading is not loaded."""
        engine = self.find(name)
        self._forget(engine)
        await engine.stop()

    async def sleep(self, name: str) -> None:
        """Give the memory back, keep the name.

        Raises:
            ApiError: 409 where it has not been loaded yet.
        """
        engine = self.find(name)
        if engine.facts is None:
            raise ApiError(409, f"{name} is still loading; `aphrodite unload {name}` ends that", code="model_starting")
        await engine.stop(State.ASLEEP)

    async def wake(self, name: str) -> None:
        """Load a sleeping model again; one that is awake stays as it is.

        Raises:
            ApiError: 400 when it is refused now; it sleeps on.
        """
        engine = self.find(name)
        if engine.state is not State.ASLEEP:
            return
        try:
            await self._start(engine)
        except BaseException:
            await engine.stop(State.ASLEEP)
            raise

    async def close(self) -> None:
        """Stop every engine process."""
        await asyncio.gather(*(engine.stop() for engine in self))

    async def _start(self, engine: EngineProcess) -> None:
        try:
            async with self._starting:
                self._check_wanted(engine)
                if engine.state in (State.STARTING, State.ASLEEP):
                    await engine.start()
                    self._check_wanted(engine)
        except EngineFailure as error:
            raise bad_request(error.problem.message, "model", "model_refused") from error

    def _check_wanted(self, engine: EngineProcess) -> None:
        if self._engines.get(engine.settings.id) is not engine:
            raise ApiError(409, f"{engine.settings.id} was unloaded before it was loaded", code="unloaded")

    def _forget(self, engine: EngineProcess) -> None:
        if self._engines.get(engine.settings.id) is engine:
            del self._engines[engine.settings.id], self.created[engine.settings.id]

    def _promised_to_others(self, engine: EngineProcess) -> int:
        """Bytes that the plans of other models on the same device name and that they have not touched yet.

        The system counts them as free: it hands out a KV cache on the CPU page by page, as it is first written.
        """
        device = engine.settings.engine.get("device", "auto")
        return sum(
            other.untouched_bytes
            for other in self
            if other is not engine and other.settings.engine.get("device", "auto") == device
        )


def _check_name(name: str) -> None:
    """A name stands in addresses, logs and on terminals."""
    if not (0 < len(name) <= MAX_NAME and name.isprintable() and name == name.strip()):
        raise bad_request(
            f"names: {ascii(name)[:80]} is not allowed: 1 to {MAX_NAME} printable characters, no blanks around them",
            "names", "invalid_value",
        )  # fmt: skip
