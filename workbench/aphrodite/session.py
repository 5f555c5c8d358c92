"""One way to a model, wherever it runs: in this process, behind this machine's service, or on another machine."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, Self, overload

import numpy as np

from aphrodite.client.calls import ServedModel
from aphrodite.client.client import Client
from aphrodite.fields import Params
from aphrodite.service import runtime
from aphrodite.service.settings import DEFAULT_PORT
from aphrodite_engine.asking.next_token import NextToken
from aphrodite_engine.asking.perplexity import Perplexity
from aphrodite_engine.asking.replay import Replayed
from aphrodite_engine.asking.score import Scores
from aphrodite_engine.errors import AphroditeError, ParameterError
from aphrodite_engine.outputs import GenerationResult, TokenEvent
from aphrodite_engine.params import Pooling, SamplingParams
from aphrodite_engine.prompts import Continuation, Continuations, Message, Prompt
from aphrodite_engine.recipe import Recipe


class NoService(AphroditeError):
    """No service of this user runs here, or several do."""


class Session(Protocol):
    """What can be asked of a model, the same in this process and over HTTP; equal requests give equal bits.

    `**fields` are those of SamplingParams; in a chat, other names go to the chat template (tools, ...).
    """

    def generate(
        self,
        prompts: Prompt | Sequence[Prompt],
        sampling_params: Params = None,
        *,
        priority: int = 0,
        cache_salt: str = "",
        continuation: Continuations = None,
        **fields: Any,
    ) -> list[GenerationResult]:
        """Complete one prompt or many; one result a prompt, in their order. An interrupt aborts them."""
        ...

    def chat(
        self,
        messages: Sequence[Message] | Sequence[Sequence[Message]],
        sampling_params: Params = None,
        *,
        priority: int = 0,
        cache_salt: str = "",
        continuation: Continuations = None,
        **fields: Any,
    ) -> list[GenerationResult]:
        """Answer one conversation or many."""
        ...

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
        """Events as they come; closing or dropping the iterator aborts."""
        ...

    def embed(
        self, texts: Prompt | Sequence[Prompt], *, pooling: Pooling | None = None, normalize: bool = True
    ) -> np.ndarray:
        """Vectors (len(texts), hidden) float32."""
        ...

    def branch(
        self,
        result: GenerationResult,
        at: int,
        token: int | str | None = None,
        seed: int | None = None,
        index: int = 0,
        **fields: Any,
    ) -> GenerationResult:
        """Go on from somewhere in a result: with another token there, another draw, or other sampling fields."""
        ...

    def replay(self, recipe: Recipe) -> Replayed:
        """Make a result again from its recipe: are the tokens the same, and what of the build differs."""
        ...

    def next_token(
        self, prompt: Prompt | Sequence[Message], params: SamplingParams | None = None, top: int = 20
    ) -> NextToken:
        """What may follow a prompt, before sampling and behind each of its stages."""
        ...

    @overload
    def score(
        self, query: Prompt, texts: Prompt | Sequence[Prompt], *, pooling: Pooling | None = None
    ) -> list[float]: ...
    @overload
    def score(self, query: Prompt | Sequence[Message], *, continuations: Sequence[Prompt]) -> Scores: ...
    def score(self, query: Any, texts: Any = None, *, continuations: Any = None, pooling: Any = None) -> Any:
        """The query's cosine similarity to each text, or how likely each continuation is behind it, in nats."""
        ...

    def perplexity(self, text: Prompt, window: int | None = None, stride: int | None = None) -> Perplexity:
        """How surprised the model is by a text, through a window that moves on by `stride` tokens."""
        ...

    def tokenize(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """Token ids of a text."""
        ...

    def detokenize(self, token_ids: Sequence[int], *, skip_special_tokens: bool = False) -> str:
        """Text of token ids."""
        ...

    def render_chat(self, messages: Sequence[Message], /, **template: Any) -> str:
        """A conversation as the prompt text the model sees."""
        ...

    def models(self) -> list[ServedModel]:
        """What answers to which name."""
        ...

    def agenerate(
        self,
        prompts: Prompt | Sequence[Prompt],
        sampling_params: Params = None,
        *,
        priority: int = 0,
        cache_salt: str = "",
        continuation: Continuations = None,
        **fields: Any,
    ) -> Coroutine[Any, Any, list[GenerationResult]]:
        """generate() for coroutines; cancelling aborts."""
        ...

    def achat(
        self,
        messages: Sequence[Message] | Sequence[Sequence[Message]],
        sampling_params: Params = None,
        *,
        priority: int = 0,
        cache_salt: str = "",
        continuation: Continuations = None,
        **fields: Any,
    ) -> Coroutine[Any, Any, list[GenerationResult]]:
        """chat() for coroutines."""
        ...

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
        """stream() for coroutines."""
        ...

    def abranch(
        self,
        result: GenerationResult,
        at: int,
        token: int | str | None = None,
        seed: int | None = None,
        index: int = 0,
        **fields: Any,
    ) -> Coroutine[Any, Any, GenerationResult]:
        """branch() for coroutines."""
        ...

    def areplay(self, recipe: Recipe) -> Coroutine[Any, Any, Replayed]:
        """replay() for coroutines."""
        ...

    def aembed(
        self, texts: Prompt | Sequence[Prompt], *, pooling: Pooling | None = None, normalize: bool = True
    ) -> Coroutine[Any, Any, np.ndarray]:
        """embed() for coroutines."""
        ...

    def close(self) -> None:
        """End what runs and give back what is held. May be called twice."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


def connect(target: str | Path | None = None, *, api_key: str | None = None, **settings: Any) -> Session:
    """A session with a model; `with connect("demo") as session: ...`.

    Args:
        target: "demo", a folder or a Hugging Face id runs in this process; "http://host:2242" is a service;
            None is the service that runs on this machine.
        api_key: for a service; None reads APHRODITE_API_KEY, or this machine's own connection file. Never shown.
        **settings: of the engine (dtype, max_model_len, ...) or of the client (model, timeout, retries).

    Raises:
        NoService: none runs here, or there is a choice.
        ParameterError: a setting that is unknown; an api_key for a model in this process.
    """
    if target is None:
        return _local_service(api_key, settings)
    if isinstance(target, str) and "://" in target:
        return Client(target, api_key=api_key, **settings)
    if api_key is not None:
        raise ParameterError("api_key", "...", "nothing: a model in this process has no key")
    from aphrodite.local import LocalSession

    return LocalSession(target, **settings)


def _local_service(api_key: str | None, settings: dict[str, Any]) -> Client:
    connection = runtime.read_connection(DEFAULT_PORT)
    if connection is None:
        ports = runtime.running_ports()
        if len(ports) > 1:
            choice = " or ".join(f'connect("http://127.0.0.1:{port}")' for port in ports)
            raise NoService(f"several services run on this machine: {choice}")
        connection = runtime.read_connection(ports[0]) if ports else None
    if connection is None:
        raise NoService(
            "no service runs on this machine: start one with `aphrodite up`, name another's address as in "
            'connect("http://host:2242"), or run a model in this process with connect("demo")'
        )
    # The file is this user's alone, and so is its key: the owner comes in as the owner.
    key = connection.admin_key if api_key is None else api_key
    return Client(connection.url, api_key=key, certificate=connection.certificate or None, **settings)
