"""Requests to one service: its address and key, timeouts, further tries, streams of events."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import ssl
import uuid
import warnings
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx2
import msgspec

import aphrodite
from aphrodite.client.errors import (
    ClientClosed,
    ClientError,
    ConnectionFailed,
    RequestTimeout,
    StreamInterrupted,
    UnexpectedAnswer,
    problem_in,
    status_error,
)
from aphrodite.client.retries import Retries
from aphrodite_engine.errors import ParameterError

T = TypeVar("T")

DONE = "[DONE]"
_WRITE_SECONDS = 60.0
_KEEP_CONNECTIONS = 64
#: The first event of a long prompt whose log-probabilities were asked for is megabytes.
_MAX_EVENT_BYTES = 256 * 2**20
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Transport:
    """Sends requests and reads answers; every failure is a ClientError.

    Args:
        url: as in "http://host:2242"; an ending /v1 is ignored.
        api_key: None reads APHRODITE_API_KEY.
        certificate: PEM file; the only certificate that is trusted then.
        timeout: longest silence in seconds; a stream's keep-alive comments are no silence.
        connect_timeout: seconds.

    Raises:
        ParameterError: an address that is none, or a key that cannot be sent.
    """

    def __init__(
        self,
        url: str,
        api_key: str | None,
        certificate: str | Path | None,
        timeout: float,
        connect_timeout: float,
        retries: Retries,
    ) -> None:
        self.url = _base_url(url)
        self._retries = retries
        self._http = httpx2.AsyncClient(
            base_url=self.url,
            headers={"user-agent": f"aphrodite/{aphrodite.__version__}", **_authorization(api_key)},
            timeout=httpx2.Timeout(timeout, connect=connect_timeout, write=_WRITE_SECONDS, pool=None),
            limits=httpx2.Limits(max_keepalive_connections=_KEEP_CONNECTIONS),
            verify=True if certificate is None else _trusting_only(certificate),
            # A proxy named in the environment is for the way out, not for this machine.
            trust_env=urlsplit(self.url).hostname not in _LOOPBACK,
        )

    async def get(self, path: str, kind: type[T], **query: str | int) -> T:
        return await self.ask("GET", path, kind, params=query)

    async def post(self, path: str, body: Mapping[str, Any], kind: type[T]) -> T:
        return await self.ask("POST", path, kind, **_json(body))

    async def delete(self, path: str, kind: type[T]) -> T:
        return await self.ask("DELETE", path, kind)

    async def ask(self, method: str, path: str, kind: type[T], **request: Any) -> T:
        """The answer as a structure.

        Raises:
            ClientError: of its kind.
        """
        content = await self.content(method, path, **request)
        try:
            return msgspec.json.decode(content, type=kind)
        except msgspec.DecodeError as error:
            raise UnexpectedAnswer(
                f"{method} {self.url}{path} answered something else than expected: {error}"
            ) from error

    async def content(self, method: str, path: str, **request: Any) -> bytes:
        """The answer's bytes."""
        async with self._answer(method, path, **request) as response:
            try:
                return await response.aread()
            except httpx2.TransportError as error:
                raise self._failure(error, "broke off an answer") from error

    async def events(self, path: str, body: Mapping[str, Any]) -> AsyncGenerator[str]:
        """The data of each event, up to `[DONE]`. Closing the generator hangs up, which aborts the request.

        Raises:
            StreamInterrupted: it ended without its end, or with an error.
        """
        async with self._answer("POST", path, **_json(body)) as response:
            request_id = response.headers.get("x-request-id")
            try:
                async for event in httpx2.EventSource(response, _MAX_EVENT_BYTES):
                    if event.data == DONE:
                        return
                    if '"error"' in event.data and (problem := problem_in(event.data)):
                        code = None if problem.code is None else str(problem.code)
                        raise StreamInterrupted(problem.message, code=code, request_id=request_id)
                    yield event.data
            except httpx2.TransportError as error:
                reason = str(error) or type(error).__name__
                raise StreamInterrupted(f"the stream broke: {reason}", request_id=request_id) from error
            raise StreamInterrupted("the stream ended without saying that it was complete", request_id=request_id)

    async def close(self) -> None:
        """Close every connection."""
        await self._http.aclose()

    @contextlib.asynccontextmanager
    async def _answer(self, method: str, path: str, **request: Any) -> AsyncGenerator[httpx2.Response]:
        """A successful answer whose body is still to be read."""
        if method == "POST":
            # The same key with every try: the service does the work once.
            request["headers"] = {"idempotency-key": str(uuid.uuid4()), **request.get("headers", {})}
        response = await self._tried(method, path, request)
        try:
            _warn_of_ignored(response)
            yield response
        finally:
            await response.aclose()

    async def _tried(self, method: str, path: str, request: Mapping[str, Any]) -> httpx2.Response:
        for attempt in itertools.count():
            try:
                return await self._once(self._http.build_request(method, path, **request))
            except ClientError as error:
                wait = self._retries.wait(attempt, error)
                if wait is None:
                    raise
                await asyncio.sleep(wait)
        raise AssertionError("unreachable")

    async def _once(self, request: httpx2.Request) -> httpx2.Response:
        if self._http.is_closed:
            raise ClientClosed
        try:
            response = await self._http.send(request, stream=True)
            if response.is_success:
                return response
            body = await response.aread()
        except httpx2.TransportError as error:
            raise self._failure(error, "could not be reached") from error
        raise status_error(response.status_code, response.headers, body)

    def _failure(self, error: httpx2.TransportError, what: str) -> ClientError:
        reason = str(error) or type(error).__name__
        if isinstance(error, httpx2.TimeoutException) and not isinstance(error, httpx2.ConnectTimeout):
            return RequestTimeout(f"{self.url} did not answer in time ({type(error).__name__})")
        return ConnectionFailed(f"{self.url} {what}: {reason}; is the service running there?")


def _warn_of_ignored(response: httpx2.Response) -> None:
    if names := response.headers.get("x-ignored-params"):
        warnings.warn(f"the service does not know, and ignored: {names}", stacklevel=2)


def _json(body: Mapping[str, Any]) -> dict[str, Any]:
    return {"content": _encoded(body), "headers": {"content-type": "application/json"}}


def _encoded(body: Mapping[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(body)
    except UnicodeEncodeError:  # lone surrogates become replacement characters, as in the engine's tokenizer
        return msgspec.json.encode(_clean(body))
    except TypeError as error:
        raise ParameterError("request", body, f"what JSON can say ({error})") from error


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16-le", errors="surrogatepass").decode("utf-16-le", errors="replace")
    if isinstance(value, Mapping):
        return {_clean(key): _clean(item) for key, item in value.items()}
    return [_clean(item) for item in value] if isinstance(value, (list, tuple)) else value


def _trusting_only(certificate: str | Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=certificate)
    # This very certificate, whoever signed it and whatever name this machine is called by.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.check_hostname = False
    return context


def _base_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        valid = False
    if not valid:
        raise ParameterError("url", url, "an address such as http://127.0.0.1:2242")
    return url.rstrip("/").removesuffix("/v1")


def _authorization(api_key: str | None) -> dict[str, str]:
    key = os.environ.get("APHRODITE_API_KEY") if api_key is None else api_key
    if not key:
        return {}
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise ParameterError("api_key", "...", "printable ASCII characters without spaces")
    return {"authorization": f"Bearer {key}"}
