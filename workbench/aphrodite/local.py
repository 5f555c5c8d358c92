"""A session whose model is in this process."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Sequence
from typing import Any

from aphrodite.client.calls import ServedModel
from aphrodite.fields import Params, split_fields, with_keywords
from aphrodite_engine.llm import LLM
from aphrodite_engine.outputs import GenerationResult, TokenEvent
from aphrodite_engine.params import SamplingParams
from aphrodite_engine.prompts import Continuation, Continuations, Message, Prompt, is_conversation


class LocalSession(LLM):
    """An LLM that also takes sampling parameters as keywords, as a client of the service does."""

    def models(self) -> list[ServedModel]:
        """The one there is."""
        return [ServedModel(self.model, self.model, self.max_model_len)]

    def __enter__(self) -> LocalSession:
        return self

    def generate(
        self,
        prompts: Prompt | Sequence[Prompt],
        sampling_params: Params = None,
        *,
        progress: bool = False,
        priority: int = 0,
        cache_salt: str = "",
        continuation: Continuations = None,
        **fields: Any,
    ) -> list[GenerationResult]:
        params = with_keywords(sampling_params, fields)
        return super().generate(
            prompts, params, progress=progress, priority=priority, cache_salt=cache_salt, continuation=continuation
        )

    def chat(
        self,
        messages: Sequence[Message] | Sequence[Sequence[Message]],
        sampling_params: Params = None,
        *,
        progress: bool = False,
        priority: int = 0,
        cache_salt: str = "",
        continuation: Continuations = None,
        **fields: Any,
    ) -> list[GenerationResult]:
        sampling, template = split_fields(fields)
        params = with_keywords(sampling_params, sampling)
        return super().chat(
            messages,
            params,
            progress=progress,
            priority=priority,
            cache_salt=cache_salt,
            continuation=continuation,
            **template,
        )

    def stream(
        self,
        prompt: Prompt | Sequence[Message],
        sampling_params: SamplingParams | None = None,
        *,
        priority: int = 0,
        cache_salt: str = "",
        continuation: Continuation | None = None,
        **fields: Any,
    ) -> Iterator[TokenEvent]:
        sampling, template = split_fields(fields) if is_conversation(prompt) else (fields, {})
        params = with_keywords(sampling_params, sampling)
        return super().stream(
            prompt, params, priority=priority, cache_salt=cache_salt, continuation=continuation, **template
        )

    async def agenerate(
        self,
        prompts: Prompt | Sequence[Prompt],
        sampling_params: Params = None,
        *,
        priority: int = 0,
        cache_salt: str = "",
        continuation: Continuations = None,
        **fields: Any,
    ) -> list[GenerationResult]:
        params = with_keywords(sampling_params, fields)
        return await super().agenerate(
            prompts, params, priority=priority, cache_salt=cache_salt, continuation=continuation
        )

    async def achat(
        self,
        messages: Sequence[Message] | Sequence[Sequence[Message]],
        sampling_params: Params = None,
        *,
        priority: int = 0,
        cache_salt: str = "",
        continuation: Continuations = None,
        **fields: Any,
    ) -> list[GenerationResult]:
        sampling, template = split_fields(fields)
        params = with_keywords(sampling_params, sampling)
        return await super().achat(
            messages, params, priority=priority, cache_salt=cache_salt, continuation=continuation, **template
        )

    def astream(
        self,
        prompt: Prompt | Sequence[Message],
        sampling_params: SamplingParams | None = None,
        *,
        priority: int = 0,
        cache_salt: str = "",
        continuation: Continuation | None = None,
        **fields: Any,
    ) -> AsyncGenerator[TokenEvent]:
        sampling, template = split_fields(fields) if is_conversation(prompt) else (fields, {})
        params = with_keywords(sampling_params, sampling)
        return super().astream(
            prompt, params, priority=priority, cache_salt=cache_salt, continuation=continuation, **template
        )
