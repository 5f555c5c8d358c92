"""The service from Python, asynchronous."""

from __future__ import annotations

import asyncio
import base64
import weakref
from collections.abc import AsyncGenerator, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from aphrodite.client.generate_call import GenerateCall, one_each
from aphrodite.client.in_process import InProcess
from aphrodite.client.openai_calls import OpenAICalls
from aphrodite.client.results import generation_result, token_event
from aphrodite.client.retries import Retries
from aphrodite.client.transport import Transport
from aphrodite.client.workbench_calls import WorkbenchCalls
from aphrodite.fields import Params, split_fields, with_keywords
from aphrodite.generated import Generated, Piece, Rendered
from aphrodite_engine.asking.session import AsyncAsks
from aphrodite_engine.errors import ParameterError
from aphrodite_engine.maker import Maker
from aphrodite_engine.outputs import GenerationResult, TokenEvent
from aphrodite_engine.params import Pooling, SamplingParams
from aphrodite_engine.prompts import (
    Continuation,
    Continuations,
    Message,
    Prompt,
    as_conversations,
    as_prompts,
    continuation_for_each,
    is_conversation,
)

TIMEOUT = 600.0
CONNECT_TIMEOUT = 5.0
#: Prompts of one call that are under way at once: enough to fill the engine's batches, few enough for others.
CONCURRENCY = 64
_EMBED_TOGETHER = 2048


class AsyncClient(OpenAICalls, WorkbenchCalls, AsyncAsks, InProcess):
    """Every call of the service; `async with AsyncClient("http://host:2242") as client: ...`.

    generate, chat, stream, embed and score take and give what `aphrodite.LLM` takes and gives, bit for bit.

    Args:
        url: of the service.
        api_key: None reads APHRODITE_API_KEY. It is never shown.
        certificate: PEM file of the service's own certificate, where no public authority vouches for it.
        model: what calls mean that name none; None is the one model that is served.
        timeout: longest silence in seconds before RequestTimeout.
        connect_timeout: seconds until ConnectionFailed where nobody answers.
        retries: further tries of what failed before the first byte of an answer.

    Raises:
        ParameterError: an address that is none.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        certificate: str | Path | None = None,
        model: str | None = None,
        timeout: float = TIMEOUT,
        connect_timeout: float = CONNECT_TIMEOUT,
        retries: int | Retries = 2,
    ) -> None:
        policy = retries if isinstance(retries, Retries) else Retries(retries)
        super().__init__(Transport(url, api_key, certificate, timeout, connect_timeout, policy), model)

        self._owner: weakref.ref[Any] | None = None

    def belongs_to(self, owner: Any) -> None:
        """Who shall be asked for more of the results made here: a client that waits, in front of this one."""
        self._owner = weakref.ref(owner)

    def _maker(self) -> Maker:
        return Maker((self._owner and self._owner()) or self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    @property
    def url(self) -> str:
        return self._transport.url

    # ---- generation

    async def generate(
        self,
        prompts: Prompt | Sequence[Prompt],
        sampling_params: Params = None,
        *,
        model: str | None = None,
        priority: int = 0,
        cache_salt: str = "",
        continuation: Continuations = None,
        **fields: Any,
    ) -> list[GenerationResult]:
        """Complete one prompt or many, which run together; one result a prompt, in their order.

        Args:
            sampling_params: one for all, or one for each prompt.
            continuation: output tokens to go on behind, as if they had been drawn; one for all, or one for each prompt.
            **fields: of SamplingParams, as in temperature=0.5.

        Raises:
            ParameterError, ContextOverflowError: as the engine itself.
            ClientError: the service could not do it; nothing of the call goes on running.
        """
        many = as_prompts(prompts)
        params = one_each(with_keywords(sampling_params, fields), len(many))
        return await self._generate(
            GenerateCall(own, model or self.model, priority, cache_salt, begun, self._maker(), prompt=prompt)
            for prompt, own, begun in zip(many, params, continuation_for_each(len(many), continuation), strict=True)
        )

    async def chat(
        self,
        messages: Sequence[Message] | Sequence[Sequence[Message]],
        sampling_params: Params = None,
        *,
        model: str | None = None,
        priority: int = 0,
        cache_salt: str = "",
        continuation: Continuations = None,
        **fields: Any,
    ) -> list[GenerationResult]:
        """Answer one conversation or many; `fields` that are none of SamplingParams go to the chat template."""
        many = as_conversations(messages)
        sampling, template = split_fields(fields)
        params = one_each(with_keywords(sampling_params, sampling), len(many))
        return await self._generate(
            GenerateCall(
                own,
                model or self.model,
                priority,
                cache_salt,
                begun,
                self._maker(),
                messages=conversation,
                template=template,
            )
            for conversation, own, begun in zip(
                many, params, continuation_for_each(len(many), continuation), strict=True
            )
        )

    def stream(
        self,
        prompt: Prompt | Sequence[Message],
        sampling_params: SamplingParams | None = None,
        *,
        model: str | None = None,
        priority: int = 0,
        cache_salt: str = "",
        continuation: Continuation | None = None,
        **fields: Any,
    ) -> AsyncGenerator[TokenEvent]:
        """Events of one prompt or conversation as they come; closing the iterator, or cancelling, aborts.

        Raises:
            StreamInterrupted: it broke off.
        """
        sampling, template = split_fields(fields)
        talk = is_conversation(prompt)
        (params,) = one_each(with_keywords(sampling_params, sampling if talk else fields), 1)
        content: dict[str, Any] = {"messages": prompt, "template": template} if talk else {"prompt": prompt}
        return self._events(
            GenerateCall(params, model or self.model, priority, cache_salt, continuation, self._maker(), **content)
        )

    async def _generate(self, calls: Iterable[GenerateCall]) -> list[GenerationResult]:
        places = asyncio.Semaphore(CONCURRENCY)

        async def one(call: GenerateCall) -> GenerationResult:
            async with places:
                return generation_result(await self._transport.post("/generate", call.body, Generated), call)

        tasks = [asyncio.ensure_future(one(call)) for call in calls]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def _events(self, call: GenerateCall) -> AsyncGenerator[TokenEvent]:
        number = f"stream-{next(self._numbers)}"
        events = self._transport.events("/generate", call.body | {"stream": True})
        try:
            async for data in events:
                yield token_event(number, msgspec.json.decode(data, type=Piece), call)
        finally:
            await events.aclose()

    # ---- vectors

    async def embed(
        self,
        texts: Prompt | Sequence[Prompt],
        *,
        pooling: Pooling | None = None,
        normalize: bool = True,
        model: str | None = None,
    ) -> np.ndarray:
        """Vectors (len(texts), hidden) float32.

        Args:
            pooling: "mean", "cls" or "last"; None is what the model was made for.
            normalize: to length 1, so that dot products are cosines.
        """
        many = as_prompts(texts)
        options = {"pooling": pooling, "normalize": normalize, "encoding_format": "base64"}
        rows: list[np.ndarray] = []
        for first in range(0, len(many), _EMBED_TOGETHER):
            answer = await self.embeddings(many[first : first + _EMBED_TOGETHER], model, **options)
            rows += [np.frombuffer(base64.b64decode(item["embedding"]), "<f4") for item in answer["data"]]
        return np.stack(rows)

    # ---- tokens

    async def tokenize(self, text: str, *, add_special_tokens: bool = True, model: str | None = None) -> list[int]:
        """Token ids of a text."""
        if not isinstance(text, str):
            raise ParameterError("text", text, "a string")
        body = {"model": model or self.model, "prompt": text, "add_special_tokens": add_special_tokens}
        return (await self._transport.post("/tokenize", body, dict[str, Any]))["tokens"]

    async def tokens(
        self, text: str, *, add_special_tokens: bool = True, model: str | None = None
    ) -> list[tuple[int, str]]:
        """Token ids of a text, each with the text that it stands for."""
        body = {
            "model": model or self.model, "prompt": text, "add_special_tokens": add_special_tokens,
            "return_token_strs": True,
        }  # fmt: skip
        found = await self._transport.post("/tokenize", body, dict[str, Any])
        return list(zip(found["tokens"], found["token_strs"], strict=True))

    async def detokenize(
        self, token_ids: Sequence[int], *, skip_special_tokens: bool = False, model: str | None = None
    ) -> str:
        """Text of token ids."""
        if not isinstance(token_ids, Sequence) or isinstance(token_ids, (str, bytes)):
            raise ParameterError("token_ids", token_ids, "a list of token ids")
        body = {
            "model": model or self.model, "tokens": token_ids, "skip_special_tokens": skip_special_tokens,
        }  # fmt: skip
        return (await self._transport.post("/detokenize", body, dict[str, Any]))["prompt"]

    async def render_chat(self, messages: Sequence[Message], /, *, model: str | None = None, **template: Any) -> str:
        """A conversation as the prompt text the model sees."""
        body = {"model": model or self.model, "messages": messages, "template": template}
        return (await self._transport.post("/render", body, Rendered)).prompt

    async def context(self, *, model: str | None = None) -> int:
        """The longest sequence that a model takes, in tokens.

        Raises:
            ParameterError: no such model is served, or none was named and there is a choice.
        """
        wanted = await self._named(model)
        lengths = {found.id: found.max_model_len for found in await self.models()}
        length = lengths.get(wanted)
        if length is None:
            raise ParameterError("model", wanted, f"a loaded model: {', '.join(lengths) or 'none is'}")
        return length

    # ---- lifecycle

    async def close(self) -> None:
        """Close every connection, which ends what still runs. May be called twice."""
        await self._transport.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
