"""Where a decode step's time goes: layers of timers, each inside the one before.

step     from one step's start to the next one's: everything, the loop and the delivery of events included
model    calls of the model's forward and logits, and of the sampler
ops      calls of the kernel functions and tensor ops inside them, and the making of the batch's tensors
native   the C functions themselves, without the Python that checks and passes their arguments

A timer costs about 0.2 microseconds a call; a step of the 30M shape has some 150 of them (30 microseconds).
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import torch
from peers import Ours
from workloads import Job, greedy, shortened

_LAYERS = ("model", "ops", "native")
_DECODER_OPS = ("matmul", "rms_norm")
#: Steps at either end that are left out: prefill and first touches, and rows that end.
_EDGE = 8


class Stopwatch:
    """Seconds by name; a name counts only while it is outermost in its layer."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._inside: set[str] = set()

    def wrap(self, function: Callable[..., Any], layer: str, name: str) -> Callable[..., Any]:
        """The function with its time added to its layer and to its name."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            if layer in self._inside:
                return function(*args, **kwargs)
            self._inside.add(layer)
            start = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                spent = time.perf_counter() - start
                self._inside.discard(layer)
                self.seconds[layer] += spent
                self.seconds[f"{layer}.{name}"] += spent

        return timed


def decode_step(ours: Ours, batch: int, tokens: int = 96) -> dict[str, Any]:
    """A step of `batch` sequences that draw from the plain distribution."""
    prompt = greedy()[0].prompt[:16]
    return step_profile(ours, f"batch {batch}", [Job(prompt, tokens, seed=seed) for seed in range(batch)])


def sweep_step(ours: Ours, jobs: list[Job], tokens: int = 16) -> dict[str, Any]:
    """A step of all the sweep's requests."""
    return step_profile(ours, "sweep", shortened(jobs, tokens))


def step_profile(ours: Ours, name: str, jobs: list[Job]) -> dict[str, Any]:
    """Median milliseconds of a decode step by layer and op, and the share of it that lies outside each layer."""
    ours.generate(shortened(jobs, 2))
    with _instrumented(ours) as steps:
        ours.generate(jobs)
    edge = min(_EDGE, len(steps) // 4)
    decode = steps[edge:-edge]
    names = sorted({name for step in decode for name in step})
    milliseconds = {name: 1e3 * statistics.median(step.get(name, 0.0) for step in decode) for name in names}
    layers = [layer for layer in _LAYERS if layer in names]
    outside = {f"outside {layer}": 1 - milliseconds[layer] / milliseconds["step"] for layer in layers}
    return {"name": name, "milliseconds": milliseconds, "share": outside}


@contextmanager
def _instrumented(ours: Ours) -> Iterator[list[dict[str, float]]]:
    """Timers around everything; yields a list that fills with one entry a step."""
    watch, steps = Stopwatch(), list[dict[str, float]]()
    with ExitStack() as stack:
        for owner, name, layer in _places(ours):
            stack.enter_context(patch.object(owner, name, watch.wrap(getattr(owner, name), layer, name.strip("_"))))
        stack.enter_context(patch.dict("aphrodite_engine.sampling.steps.STEPS", _timed_steps(watch)))
        engine = _engine(ours)
        stack.enter_context(patch.object(engine, "step", _recording(engine.step, watch, steps)))
        yield steps


def _timed_steps(watch: Stopwatch) -> dict[str, Any]:
    from aphrodite_engine.sampling.steps import STEPS

    return {name: replace(step, apply=watch.wrap(step.apply, "ops", name)) for name, step in STEPS.items()}


def _recording(step: Callable[[], Any], watch: Stopwatch, steps: list[dict[str, float]]) -> Callable[[], Any]:
    """The step, closing the account of the one before it."""
    last = [0.0]

    def recorded() -> Any:
        now = time.perf_counter()
        if last[0]:
            steps.append({**watch.seconds, "step": now - last[0]})
        last[0] = now
        watch.seconds.clear()
        return step()

    return recorded


def _places(ours: Ours) -> Iterator[tuple[Any, str, str]]:
    """(owner, attribute, layer) of every function to time."""
    from aphrodite_engine.models import decoder
    from aphrodite_engine.running import batch, runner
    from aphrodite_engine.sampling import pipeline
    from aphrodite_kernels import dispatch, native

    model = _engine(ours).runner.model
    yield from ((model, name, "model") for name in ("forward", "logits"))
    yield runner, "sample", "model"
    yield from ((decoder, name, "ops") for name in _DECODER_OPS)
    yield model, "_layers", "ops"
    yield model._embedding, "rows", "ops"
    yield batch, "uploaded", "ops"
    yield from ((pipeline, name, "ops") for name in ("argmax", "gumbel_argmax"))
    if dispatch.runs_native(torch.empty(0)):
        library = native.compiled()
        yield from ((library, name, "native") for name in vars(library) if name != "path")


def _engine(ours: Ours) -> Any:
    """There is no public way in: a step is the engine's own business."""
    loaded: Any = ours.llm._loaded
    return loaded.engine
