"""The contestants of one shape, loaded when first asked for and kept side by side."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from peers import Continuous, Ours, Padded, load_transformers
from shapes import Shape, checkpoint
from workloads import Job

#: 256-token blocks of transformers' continuous batching: one for each of 32 sequences, and some to spare.
CONTINUOUS_BLOCKS = 48


class Lineup:
    """`with Lineup(shape) as lineup`: everything is closed at the end."""

    def __init__(self, shape: Shape) -> None:
        self.shape, self.folder = shape, checkpoint(shape)

    @cached_property
    def model(self) -> Any:
        return load_transformers(self.folder)

    @cached_property
    def ours(self) -> Ours:
        return Ours(self.folder, kv_cache_memory=self.shape.kv_cache_memory)

    @cached_property
    def fast(self) -> Ours:
        return Ours(self.folder, kv_cache_memory=self.shape.kv_cache_memory, determinism="fast")

    @cached_property
    def padded(self) -> Padded:
        return Padded(self.model)

    @cached_property
    def one_by_one(self) -> Padded:
        return Padded(self.model, batch=1)

    @cached_property
    def static(self) -> Padded:
        return Padded(self.model, batch=1, cache_implementation="static")

    def continuous(self, job: Job) -> Continuous:
        """A manager samples all its jobs like `job`; close it after use."""
        return Continuous(self.model, job, CONTINUOUS_BLOCKS)

    def __enter__(self) -> Lineup:
        return self

    def __exit__(self, *_: object) -> None:
        for name in ("ours", "fast"):
            if name in self.__dict__:
                self.__dict__.pop(name).close()
        self.__dict__.pop("model", None)
