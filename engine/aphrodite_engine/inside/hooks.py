"""Hooks for research as methods of an LLM: what is inside a model, and what a push there does."""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from aphrodite_engine.admission import Admission
from aphrodite_engine.answers import collect_single
from aphrodite_engine.errors import ParameterError, UnsupportedModelError
from aphrodite_engine.inside.hidden_states import ByLayer, Capture, HiddenStates, LensView, checked_layers
from aphrodite_engine.inside.lens import Lens, lens_of
from aphrodite_engine.inside.steering import checked_steer
from aphrodite_engine.loading.load import Loaded
from aphrodite_engine.loop import EngineLoop
from aphrodite_engine.param_checks import Range
from aphrodite_engine.params import SamplingParams
from aphrodite_engine.prompts import Message, Prompt, as_prompts, is_single
from aphrodite_engine.request import Request

Asked = Prompt | Sequence[Message]


class Hooks(ABC):
    """Layers are counted from 0; negative numbers count from the last. For prompts of text, ids or messages."""

    _admission: Admission
    model: str

    def capture(
        self, prompts: Asked | Sequence[Asked], layers: Sequence[int] | None = None, **template: Any
    ) -> HiddenStates | list[HiddenStates]:
        """The residual stream of every token of a prompt, as it leaves each of `layers`.

        Every position is computed, none taken from the cache; the bits are the same in whatever chunks and company.

        Args:
            prompts: one, which gives one HiddenStates, or several, which give a list.
            layers: None is every layer.
            template: with messages, for the chat template.

        Raises:
            ParameterError, ContextOverflowError: no such layer, or a prompt that cannot be.
            UnsupportedModelError: this model's layers cannot be found.
        """
        many, wanted = as_prompts(prompts), Capture(checked_layers(layers, self._require_open().facts.num_layers))
        found = self._captured_by_encoder(many, wanted) or self._captured(many, wanted, template)
        states = [self._hidden_states(token_ids, of_layers) for token_ids, of_layers in found]
        return states[0] if is_single(prompts) else states

    def lens(
        self,
        prompts: Asked | Sequence[Asked],
        layers: Sequence[int] | None = None,
        top: int = 5,
        follow: Sequence[int | str] = (),
        **template: Any,
    ) -> Lens | list[Lens]:
        """The logit lens: what would come next if the model ended after each of `layers`.

        Args:
            prompts: one, which gives one Lens, or several, which give a list.
            layers: None is every layer. The last row of all is the model's own distribution.
            top: how many of the likeliest tokens of each layer and position.
            follow: tokens, by id or as texts of exactly one token, whose probability and rank are told wherever they
                stand.
            template: with messages, for the chat template.

        Raises:
            ParameterError, ContextOverflowError: out of range, or a prompt that cannot be.
            UnsupportedModelError: an encoder, or a model whose layers cannot be found.
        """
        self._running_loop()
        many, facts = as_prompts(prompts), self._require_open().facts
        Range(1, facts.vocab_size, whole=True).check("top", top)
        view = LensView(top, tuple(self._one_token(token) for token in follow))
        found = self._captured(many, Capture(checked_layers(layers, facts.num_layers), view), template)
        lenses = [lens_of(of_layers, ids, self._texts(ids), view, self._text) for ids, of_layers in found]
        return lenses[0] if is_single(prompts) else lenses

    def steer(
        self, layer: int, vector: Any, scale: float = 1.0, positions: Sequence[int] | None = None
    ) -> contextlib.AbstractContextManager[None]:
        """A context in which scale * vector is added to the residual stream after `layer`.

        It holds for requests that are made within, from this thread and, where there are tasks, from this task and
        those it starts within; whatever else runs meanwhile is computed as ever, to the bit. Contexts within each other
        add up, on one layer or several. What was computed under steering is found in the cache by requests that are
        steered alike, and by no others.

        Args:
            vector: (hidden,) an array, a tensor or a list. The product is rounded to float32 once, the sum with the
                stream to the model's dtype.
            scale: 0 steers nothing.
            positions: of tokens in prompt and output together, from 0, whose streams are pushed; the push at a token
                tells on what is drawn behind it. None is every one; range(n, llm.max_model_len) is those from n on.

        Raises:
            ParameterError: no such layer, or a vector of another length, of no numbers, or not finite.
            UnsupportedModelError: an encoder, or a model whose layers cannot be found.
        """
        self._require_taps()
        facts = self._require_open().facts
        steer = checked_steer(
            layer, vector, scale, positions, num_layers=facts.num_layers, hidden_size=facts.hidden_size
        )
        return self._admission.steering.steered([steer])

    async def acapture(
        self, prompts: Asked | Sequence[Asked], layers: Sequence[int] | None = None, **template: Any
    ) -> HiddenStates | list[HiddenStates]:
        """capture() in a thread, so that the event loop stays free."""
        return await asyncio.to_thread(self.capture, prompts, layers, **template)

    async def alens(
        self,
        prompts: Asked | Sequence[Asked],
        layers: Sequence[int] | None = None,
        top: int = 5,
        follow: Sequence[int | str] = (),
        **template: Any,
    ) -> Lens | list[Lens]:
        """lens() in a thread, so that the event loop stays free."""
        return await asyncio.to_thread(self.lens, prompts, layers, top, follow, **template)

    @abstractmethod
    def _admit_one(
        self, prompt: Asked, params: SamplingParams | None, template: dict[str, Any], **more: Any
    ) -> Request: ...

    @abstractmethod
    def _running_loop(self) -> EngineLoop: ...

    @abstractmethod
    def _require_open(self) -> Loaded: ...

    @abstractmethod
    def _encoder_states(self, token_ids: Sequence[int], layers: Sequence[int]) -> dict[int, np.ndarray]: ...

    def _captured(
        self, prompts: Sequence[Asked], wanted: Capture, template: dict[str, Any]
    ) -> list[tuple[tuple[int, ...], ByLayer]]:
        self._require_taps()
        requests = [self._admit_one(prompt, None, template, capture=wanted) for prompt in prompts]
        events = collect_single(self._running_loop(), requests)
        return [
            (request.prompt_token_ids, event.captured or {}) for request, event in zip(requests, events, strict=True)
        ]

    def _captured_by_encoder(self, prompts: Sequence[Any], wanted: Capture) -> list[tuple[tuple[int, ...], ByLayer]]:
        """Nothing where this is no encoder."""
        facts = self._require_open().facts
        if facts.path != "encoder":
            return []
        found = []
        for prompt in prompts:
            ids = self._admission.admit(prompt, SamplingParams(), pooling="mean").prompt_token_ids
            states = self._encoder_states(ids, (*wanted.layers, facts.num_layers - 1))
            by_layer = {layer: (states[layer],) for layer in wanted.layers}
            found.append((ids, by_layer | {facts.num_layers: (states[facts.num_layers - 1],)}))
        return found

    def _hidden_states(self, token_ids: tuple[int, ...], found: ByLayer) -> HiddenStates:
        final = self._require_open().facts.num_layers
        layers = {layer: states for layer, (states,) in found.items() if layer != final}
        return HiddenStates(layers, found[final][0], token_ids, self._texts(token_ids))

    def _require_taps(self) -> None:
        self._running_loop()
        engine, facts = self._require_open().engine, self._require_open().facts
        if engine is None or not engine.runner.model.can_be_tapped:
            raise UnsupportedModelError(
                f"{self.model} ({facts.architecture}) has no {facts.num_layers} layers that hand a residual stream on: "
                "capture, lens and steer can't reach into it"
            )

    def _one_token(self, token: int | str) -> int:
        if not isinstance(token, str):
            return self._admission.checked_ids("follow", [token])[0]
        ids = self._admission.token_ids(token, add_special_tokens=False) if token else []
        if len(ids) != 1:
            raise ParameterError("follow", token, f"the text of exactly one token, not of {len(ids)}; or a token's id")
        return ids[0]

    def _texts(self, token_ids: Sequence[int]) -> tuple[str, ...]:
        return tuple(map(self._text, token_ids))

    def _text(self, token_id: int) -> str:
        tokenizer = self._admission.tokenizer
        return tokenizer.token_text(token_id) if tokenizer else ""
