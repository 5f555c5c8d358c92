"""LLM.sleep and LLM.wake: a model that keeps its place and gives its memory back."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod

from aphrodite_engine.errors import EngineAsleepError
from aphrodite_engine.loading.load import Loaded
from aphrodite_engine.loading.memory import return_to_system
from aphrodite_engine.loading.parked import ParkedTensors
from aphrodite_engine.loop import EngineLoop


class Sleeps(ABC):
    """What an LLM can do between two tasks, without being loaded again."""

    _loop: EngineLoop | None
    _encoder_lock: threading.Lock

    def __init__(self) -> None:
        self._bed = threading.Lock()
        self._is_asleep = False
        self._parked_encoder: ParkedTensors | None = None

    @property
    def is_asleep(self) -> bool:
        """Whether it must wake before it can be asked."""
        return self._is_asleep

    def sleep(self) -> None:
        """Give memory back for a while: the KV cache and, on a GPU, the CUDA graphs and the weights, which wait on the
        host. On the CPU the weights are on the host already, and stay.

        Requests that run end with an EngineAsleepError, and so does whatever is asked before `wake`. A second call does
        nothing.

        Raises:
            EngineClosedError: it was closed.
            RuntimeError: the host has no memory for the weights; it is awake as before.
        """
        with self._bed:
            loaded = self._require_open()
            if self._is_asleep:
                return
            self._is_asleep = True
            try:
                self._lie_down(loaded)
            except BaseException:
                self._is_asleep = False
                raise

    def wake(self) -> None:
        """Take the memory again; tokens are what they were before. Cached prefixes are gone. Awake, nothing happens.

        Raises:
            EngineClosedError: it was closed.
            torch.OutOfMemoryError: others hold the device's memory by now; it sleeps on.
        """
        with self._bed:
            loaded = self._require_open()
            if not self._is_asleep:
                return
            if self._loop is not None:
                self._loop.call(lambda engine: engine.wake())
            elif self._parked_encoder is not None:
                self._parked_encoder.restore()
                self._parked_encoder = None
            self._is_asleep = False
            return_to_system(loaded.device)

    def _lie_down(self, loaded: Loaded) -> None:
        if self._loop is not None:
            asleep = EngineAsleepError("the engine was put to sleep while this request ran")
            self._loop.call(lambda engine: engine.sleep(asleep))
        elif loaded.encoder is not None and loaded.device.type == "cuda":
            with self._encoder_lock:
                self._parked_encoder = ParkedTensors(loaded.encoder.tensors())
        return_to_system(loaded.device)

    def _require_awake(self) -> Loaded:
        loaded = self._require_open()
        if self._is_asleep:
            raise EngineAsleepError("this engine sleeps: call wake() first")
        return loaded

    @abstractmethod
    def _require_open(self) -> Loaded: ...
