"""The decoder layers of a transformers model: found by what they do, tapped by forward hooks."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from aphrodite_engine.models.taps import Taps


@dataclass(frozen=True)
class LayerStack:
    """Layers that each hand the residual stream (1, T, hidden) to the next.

    Attributes:
        outputs: how many things a layer returns as a tuple, the stream first; 0 where it returns the stream itself.
    """

    layers: Sequence[torch.nn.Module]
    outputs: int = 0

    @contextlib.contextmanager
    def tapped(self, taps: Taps) -> Iterator[None]:
        """A forward of the model within does what `taps` says."""
        with contextlib.ExitStack() as hooks:
            for index in sorted(taps.layers):
                hook = self.layers[index].register_forward_hook(self._tap(index, taps))
                hooks.callback(hook.remove)
            yield

    @contextlib.contextmanager
    def ending_with(self, states: torch.Tensor) -> Iterator[None]:
        """A forward within runs no layer: whatever comes in, `states` (1, R, hidden) come out of the last."""
        result = (states, *[None] * (self.outputs - 1)) if self.outputs else states
        with contextlib.ExitStack() as replaced:
            for layer in self.layers:
                # Instance attributes win over the class's method, and go again.
                layer.forward = lambda *args, **kwargs: result  # type: ignore[method-assign]
                replaced.callback(layer.__delattr__, "forward")
            yield

    def _tap(self, index: int, taps: Taps) -> Callable[..., Any]:
        def tap(module: torch.nn.Module, inputs: Any, output: Any) -> Any:
            stream = output[0] if self.outputs else output
            if taps.changes(index):
                stream = stream.clone()  # a layer may hand on what others still read
            taps.after(index, stream[0])
            return (stream, *output[1:]) if self.outputs else stream

        return tap


class LayerSearch:
    """Finds a body's layers: the list of as many modules as it has layers, called once each and in their order, that
    return the residual stream. It watches one forward of the model."""

    def __init__(self, body: torch.nn.Module, num_layers: int, hidden_size: int) -> None:
        self._hidden_size = hidden_size
        self._lists = [
            list(module)
            for module in body.modules()
            if isinstance(module, torch.nn.ModuleList) and len(module) == num_layers
        ]
        self._calls: list[tuple[torch.nn.Module, Any]] = []

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Sees a forward of one sequence."""
        with contextlib.ExitStack() as hooks:
            for layer in (layer for layers in self._lists for layer in layers):
                hooks.callback(layer.register_forward_hook(self._note).remove)
            yield

    def found(self) -> LayerStack | None:
        """The layers; None where none, or several lists, look like them."""
        stacks = [stack for layers in self._lists if (stack := self._stack(layers)) is not None]
        return stacks[0] if len(stacks) == 1 else None

    def _note(self, module: torch.nn.Module, inputs: Any, output: Any) -> None:
        parts = len(output) if isinstance(output, tuple) else 0
        stream = output[0] if parts else output
        is_stream = isinstance(stream, torch.Tensor) and stream.dim() == 3 and stream.shape[-1] == self._hidden_size
        self._calls.append((module, parts if is_stream else None))

    def _stack(self, layers: list[torch.nn.Module]) -> LayerStack | None:
        calls = [(module, outputs) for module, outputs in self._calls if module in layers]
        in_order = [module for module, _ in calls] == layers
        outputs = {outputs for _, outputs in calls}
        return LayerStack(layers, outputs.pop()) if in_order and len(outputs) == 1 and None not in outputs else None
