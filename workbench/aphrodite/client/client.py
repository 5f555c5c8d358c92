"""The service from Python, synchronous, with asynchronous twins of what a notebook waits for."""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Callable, Coroutine
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from aphrodite.client.async_client import CONNECT_TIMEOUT, TIMEOUT, AsyncClient
from aphrodite.client.in_process import InProcess
from aphrodite.client.loop_thread import LoopThread, Stream, relay
from aphrodite.client.retries import Retries

P = ParamSpec("P")
T = TypeVar("T")

_Method = Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, T]]
_Generator = Callable[Concatenate[AsyncClient, P], AsyncGenerator[T]]


def _blocking(method: _Method[P, T]) -> Callable[Concatenate[Client, P], T]:
    @functools.wraps(method)
    def call(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._thread.run(method(self._remote, *args, **kwargs))

    return call


def _asynchronous(method: _Method[P, T]) -> Callable[Concatenate[Client, P], Coroutine[Any, Any, T]]:
    @functools.wraps(method)
    async def call(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._thread.join(method(self._remote, *args, **kwargs))

    return call


def _streaming(method: _Generator[P, T]) -> Callable[Concatenate[Client, P], Stream[T]]:
    @functools.wraps(method)
    def call(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> Stream[T]:
        return Stream(self._thread, method(self._remote, *args, **kwargs))

    return call


def _asynchronous_stream(method: _Generator[P, T]) -> Callable[Concatenate[Client, P], AsyncGenerator[T]]:
    @functools.wraps(method)
    def call(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[T]:
        return relay(self._thread, method(self._remote, *args, **kwargs))

    return call


class Client(InProcess):
    """Every call of AsyncClient for code that waits: scripts, threads, notebooks (a running event loop is no obstacle).

    `with Client("http://host:2242") as client: ...`; its arguments are AsyncClient's. A KeyboardInterrupt aborts what
    the call had begun. Those that begin with an a are for coroutines, of whichever loop.
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
        self._remote = AsyncClient(
            url, api_key=api_key, certificate=certificate, model=model, timeout=timeout,
            connect_timeout=connect_timeout, retries=retries,
        )  # fmt: skip
        self._remote.belongs_to(self)
        self._thread = LoopThread(self._remote.close)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    @property
    def url(self) -> str:
        return self._remote.url

    @property
    def model(self) -> str | None:
        """What calls mean that name none; None until it is known or given."""
        return self._remote.model

    generate = _blocking(AsyncClient.generate)
    chat = _blocking(AsyncClient.chat)
    stream = _streaming(AsyncClient.stream)
    embed = _blocking(AsyncClient.embed)
    score = _blocking(AsyncClient.score)
    next_token = _blocking(AsyncClient.next_token)
    perplexity = _blocking(AsyncClient.perplexity)
    branch = _blocking(AsyncClient.abranch)
    replay = _blocking(AsyncClient.areplay)
    context = _blocking(AsyncClient.context)
    tokenize = _blocking(AsyncClient.tokenize)
    tokens = _blocking(AsyncClient.tokens)
    detokenize = _blocking(AsyncClient.detokenize)
    render_chat = _blocking(AsyncClient.render_chat)

    agenerate = _asynchronous(AsyncClient.generate)
    achat = _asynchronous(AsyncClient.chat)
    astream = _asynchronous_stream(AsyncClient.stream)
    aembed = _asynchronous(AsyncClient.embed)
    ascore = _asynchronous(AsyncClient.score)
    anext_token = _asynchronous(AsyncClient.next_token)
    abranch = _asynchronous(AsyncClient.abranch)
    areplay = _asynchronous(AsyncClient.areplay)
    aperplexity = _asynchronous(AsyncClient.perplexity)

    models = _blocking(AsyncClient.models)
    chat_completion = _blocking(AsyncClient.chat_completion)
    stream_completion = _streaming(AsyncClient.stream_completion)
    completion = _blocking(AsyncClient.completion)
    embeddings = _blocking(AsyncClient.embeddings)
    rerank = _blocking(AsyncClient.rerank)

    create_response = _blocking(AsyncClient.create_response)
    get_response = _blocking(AsyncClient.get_response)
    cancel_response = _blocking(AsyncClient.cancel_response)
    delete_response = _blocking(AsyncClient.delete_response)

    upload_file = _blocking(AsyncClient.upload_file)
    files = _blocking(AsyncClient.files)
    file_content = _blocking(AsyncClient.file_content)
    delete_file = _blocking(AsyncClient.delete_file)
    create_batch = _blocking(AsyncClient.create_batch)
    get_batch = _blocking(AsyncClient.get_batch)
    batches = _blocking(AsyncClient.batches)
    cancel_batch = _blocking(AsyncClient.cancel_batch)

    version = _blocking(AsyncClient.version)
    status = _blocking(AsyncClient.status)
    load = _blocking(AsyncClient.load)
    unload = _blocking(AsyncClient.unload)
    sleep = _blocking(AsyncClient.sleep)
    wake = _blocking(AsyncClient.wake)
    keys = _blocking(AsyncClient.keys)
    add_key = _blocking(AsyncClient.add_key)
    revoke_key = _blocking(AsyncClient.revoke_key)

    def start(self, work: Callable[[AsyncClient], Coroutine[Any, Any, T]]) -> Future[T]:
        """Begin `work` in this client's own loop and do not wait; cancelling the future aborts what it had begun."""
        return self._thread.start(work(self._remote))

    def close(self) -> None:
        """Close every connection, which ends what still runs. May be called twice."""
        self._thread.stop()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
