"""What goes wrong on the way: further tries, timeouts, streams that break, and how each is told."""

from __future__ import annotations

import asyncio
import gc
import itertools
import time
from collections.abc import Callable

import pytest

from aphrodite.client import (
    AsyncClient,
    AuthenticationError,
    BadRequestError,
    Client,
    ClientClosed,
    ClientError,
    ConflictError,
    ConnectionFailed,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RequestTimeout,
    Retries,
    ServerError,
    ServerUnavailable,
    StatusError,
    StreamInterrupted,
    UnexpectedAnswer,
)
from aphrodite_engine.errors import AphroditeError, EngineClosedError, ParameterError
from tests.client.scripted import EVENTS, Step, answer, error, scripted
from tests.service.running import wait_for

MODELS = b'{"object":"list","data":[{"id":"demo","root":"demo","max_model_len":2048}]}'
QUICK = Retries(2, longest_wait=2, backoff=0.01)


def chunk(text: str) -> bytes:
    return b'data: {"choices":[{"delta":{"content":"%s"}}]}\n\n' % text.encode()


def texts(client: Client) -> list[str]:
    return [piece["choices"][0]["delta"]["content"] for piece in client.stream_completion([], "demo")]


# ---- further tries


@pytest.mark.parametrize("status", ["408 Late", "429 Many", "500 Broken", "502 Bad", "503 Away", "504 Slow"])
def test_what_may_pass_is_tried_again_under_the_same_idempotency_key(status: str) -> None:
    with scripted([error(status)], [error(status)], [answer(b'{"tokens":[1]}')]) as server:
        with Client(server.url, retries=QUICK) as client:
            assert client.tokenize("a") == [1]
        keys = {server.header(number, "idempotency-key") for number in range(3)}
        assert len(keys) == 1 and None not in keys


def test_a_connection_that_breaks_before_the_first_byte_is_tried_again() -> None:
    with scripted([], [b"HTTP/1.1 "], [answer(b'{"tokens":[1]}')]) as server:
        with Client(server.url, retries=QUICK) as client:
            assert client.tokenize("a") == [1]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("400 Bad", BadRequestError),
        ("401 Who", AuthenticationError),
        ("403 No", PermissionDeniedError),
        ("404 Gone", NotFoundError),
        ("409 Taken", ConflictError),
        ("413 Large", BadRequestError),
        ("418 Tea", StatusError),
        ("422 Wrong", BadRequestError),
        ("507 Full", ServerError),
    ],
)
def test_what_stays_wrong_is_raised_at_once_as_its_kind(status: str, kind: type[StatusError]) -> None:
    with scripted([error(status, "why", "the_code", x_request_id="req_7")]) as server:
        with Client(server.url, retries=QUICK) as client, pytest.raises(kind, match="why") as caught:
            client.tokenize("a")
        assert len(server.requests) == 1
    assert type(caught.value) is kind
    assert (caught.value.status, caught.value.code, caught.value.request_id) == (int(status[:3]), "the_code", "req_7")


def test_retry_after_is_obeyed() -> None:
    with scripted([error("429 Many", retry_after="1")], [answer(b'{"tokens":[1]}')]) as server:
        with Client(server.url, retries=QUICK) as client:
            started = time.monotonic()
            client.tokenize("a")
            assert time.monotonic() - started >= 1


def test_a_wait_that_is_too_long_is_left_to_the_caller() -> None:
    with scripted([error("429 Many", retry_after="77")]) as server:
        with Client(server.url, retries=QUICK) as client, pytest.raises(RateLimitError) as caught:
            client.tokenize("a")
    assert caught.value.retry_after == 77


@pytest.mark.parametrize("code", ["model_asleep", "model_failed"])
def test_a_model_that_nobody_wakes_is_not_waited_for(code: str) -> None:
    with scripted([error("503 Away", code=code, retry_after="1")]) as server:
        with Client(server.url, retries=QUICK) as client, pytest.raises(ServerUnavailable):
            client.tokenize("a")
        assert len(server.requests) == 1


def test_tries_end() -> None:
    with scripted(*itertools.repeat([error("503 Away")], 3)) as server:
        with Client(server.url, retries=QUICK) as client, pytest.raises(ServerUnavailable):
            client.tokenize("a")
        assert len(server.requests) == 3


def test_nothing_is_tried_again_once_an_answer_has_begun() -> None:
    cut = answer(b'{"tokens":[1]}')[:-4]
    with scripted([cut], [answer(b'{"tokens":[2]}')]) as server:
        with Client(server.url, retries=QUICK) as client, pytest.raises(ConnectionFailed):
            client.tokenize("a")
        assert len(server.requests) == 1


@pytest.mark.parametrize("attempt", range(6))
def test_waits_grow_with_jitter_and_end_somewhere(attempt: int) -> None:
    wait = Retries(9).wait(attempt, ConnectionFailed("gone"))
    assert wait is not None and min(0.5 * 2**attempt, 8) / 2 <= wait <= min(0.5 * 2**attempt, 8)


# ---- nobody there, or nothing comes


def test_nobody_there() -> None:
    with Client("http://127.0.0.1:9", retries=0) as client, pytest.raises(ConnectionFailed, match=r"127\.0\.0\.1:9"):
        client.models()


def test_silence_becomes_a_timeout_and_hangs_up() -> None:
    with scripted([None]) as server:
        with Client(server.url, timeout=0.2) as client, pytest.raises(RequestTimeout):
            client.models()
        assert server.hung_up.wait(5)


@pytest.mark.parametrize("body", [b"<html>hello</html>", b'{"data": 7}', b""])
def test_an_answer_from_something_else(body: bytes) -> None:
    with scripted([answer(body, kind="text/html")]) as server:
        with Client(server.url) as client, pytest.raises(UnexpectedAnswer):
            client.models()


@pytest.mark.parametrize("body", [b"<html>no</html>", b'{"detail":"no"}', b"", b'{"error":"no"}'])
def test_an_error_from_something_else_keeps_its_status(body: bytes) -> None:
    with scripted([answer(body, "404 Not Found", kind="text/html")]) as server:
        with Client(server.url) as client, pytest.raises(NotFoundError, match="404"):
            client.models()


@pytest.mark.parametrize("url", ["", "demo", "ftp://x", "http://", "http://host:port", "http://host:99999", None])
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(ParameterError, match="url"):
        Client(url)


@pytest.mark.parametrize("ending", ["", "/", "/v1", "/v1/"])
def test_an_address_as_openai_s_clients_have_it(ending: str) -> None:
    with scripted([answer(MODELS)]) as server, Client(server.url + ending) as client:
        assert [model.id for model in client.models()] == ["demo"]
        assert server.requests[0].startswith(b"GET /v1/models ")


# ---- keys


def test_a_key_is_sent_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APHRODITE_API_KEY", "sk-from-the-environment")
    with scripted([answer(MODELS)], [answer(MODELS)], [error("401 Who")]) as server:
        with Client(server.url) as client:
            client.models()
        with Client(server.url, api_key="sk-given") as client:
            client.models()
            assert "sk-" not in repr(client) + repr(vars(client)) + repr(vars(client._remote))
            with pytest.raises(AuthenticationError) as caught:
                client.models()
        assert "sk-" not in repr(caught.value) + str(vars(caught.value))
        assert server.header(0, "authorization") == "Bearer sk-from-the-environment"
        assert server.header(1, "authorization") == "Bearer sk-given"


@pytest.mark.parametrize("key", ["a b", "schlüssel", "a\nb", "a\x00b"])
def test_a_key_that_cannot_be_sent_is_refused_without_being_shown(key: str) -> None:
    with pytest.raises(ParameterError) as caught:
        Client("http://127.0.0.1:9", api_key=key)
    assert key not in str(caught.value) and key != caught.value.value


# ---- streams


def test_a_stream_in_pieces_of_any_size_is_one_text() -> None:
    data = EVENTS + b": keep-alive\n\n" + chunk("é漢🙂") + b":\r\n" + chunk(" end").replace(b"\n", b"\r\n")
    steps: list[Step] = [data[i : i + 1] for i in range(len(data))]
    with scripted([*steps, b"data: [DONE]\n\n", None]) as server, Client(server.url) as client:
        assert texts(client) == ["é漢🙂", " end"]


def test_line_separators_of_unicode_are_text() -> None:
    with scripted([EVENTS, chunk("a\u2028b\x85c"), b"data: [DONE]\n\n"]) as server, Client(server.url) as client:
        assert texts(client) == ["a\u2028b\x85c"]


@pytest.mark.parametrize(
    "ending", [b"", chunk("half")[:-1], chunk("half")[:-9], b"data: [DO", b": keep-alive\n\n"], ids=range(5)
)
def test_a_stream_without_its_end_is_interrupted(ending: bytes) -> None:
    with scripted([EVENTS, chunk("a"), ending]) as server, Client(server.url) as client:
        stream = client.stream_completion([], "demo")
        next(stream)
        with pytest.raises(StreamInterrupted) as caught:
            next(stream)
    assert caught.value.request_id == "req_1" and caught.value.code is None


def test_a_stream_that_breaks_in_the_middle_of_a_chunk() -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    first = chunk("a")
    with (
        scripted([head, b"%x\r\n%s\r\n" % (len(first), first), b"ff\r\ndata:"]) as server,
        Client(server.url) as client,
    ):
        stream = client.stream_completion([], "demo")
        next(stream)
        with pytest.raises(StreamInterrupted):
            next(stream)


def test_a_stream_that_falls_silent() -> None:
    with scripted([EVENTS, chunk("a"), None]) as server, Client(server.url, timeout=0.3) as client:
        stream = client.stream_completion([], "demo")
        next(stream)
        with pytest.raises(StreamInterrupted, match="ReadTimeout"):
            next(stream)
        assert server.hung_up.wait(5)


def test_keep_alive_comments_are_no_silence() -> None:
    idle: list[Step] = [step for _ in range(6) for step in (0.15, b": keep-alive\n\n")]
    with (
        scripted([EVENTS, *idle, chunk("a"), b"data: [DONE]\n\n"]) as server,
        Client(server.url, timeout=0.5) as client,
    ):
        assert texts(client) == ["a"]


def test_an_error_in_a_stream() -> None:
    problem = (
        b'data: {"error":{"message":"the engine died","type":"server_error","param":null,"code":"engine_lost"}}\n\n'
    )
    with scripted([EVENTS, chunk("a"), problem, None]) as server, Client(server.url) as client:
        stream = client.stream_completion([], "demo")
        next(stream)
        with pytest.raises(StreamInterrupted, match="the engine died") as caught:
            next(stream)
    assert caught.value.code == "engine_lost"


def test_an_error_before_the_first_event_is_a_status_and_may_be_tried_again() -> None:
    with scripted([error("503 Away")], [EVENTS, chunk("a"), b"data: [DONE]\n\n"]) as server:
        with Client(server.url, retries=QUICK) as client:
            assert texts(client) == ["a"]


def test_a_body_instead_of_events() -> None:
    with scripted([answer(b"{}")]) as server, Client(server.url) as client, pytest.raises(StreamInterrupted):
        texts(client)


def drop(client: Client) -> None:
    stream = client.stream_completion([], "demo")
    next(stream)
    del stream
    gc.collect()


def close(client: Client) -> None:
    stream = client.stream_completion([], "demo")
    next(stream)
    stream.close()
    stream.close()
    assert list(stream) == []


def leave(client: Client) -> None:
    with client.stream_completion([], "demo") as stream:
        next(stream)


@pytest.mark.parametrize("let_go", [drop, close, leave])
def test_a_stream_that_is_let_go_hangs_up(let_go: Callable[[Client], None]) -> None:
    with scripted([EVENTS, chunk("a"), None]) as server, Client(server.url) as client:
        let_go(client)
        assert server.hung_up.wait(5)


def test_an_async_stream_that_is_cancelled_hangs_up() -> None:
    async def read(url: str) -> None:
        async with AsyncClient(url) as client:
            async for _ in client.stream_completion([], "demo"):
                pass

    async def main(url: str) -> None:
        task = asyncio.create_task(read(url))
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with scripted([EVENTS, chunk("a"), None]) as server:
        asyncio.run(main(server.url))
        assert server.hung_up.wait(5)


# ---- the end


def test_a_closed_client_says_so_and_hangs_up() -> None:
    with scripted([EVENTS, chunk("a"), None]) as server:
        client = Client(server.url)
        stream = client.stream_completion([], "demo")
        next(stream)
        client.close()
        client.close()
        assert server.hung_up.wait(5)
        for call in (client.models, lambda: next(stream)):
            with pytest.raises(ClientClosed):
                call()
        stream.close()
    assert issubclass(ClientClosed, EngineClosedError)


def test_a_client_nobody_closed_ends_its_thread() -> None:
    client = Client("http://127.0.0.1:9")
    thread = client._thread._thread
    del client
    gc.collect()
    wait_for(lambda: not thread.is_alive(), 5)


def test_a_parameter_that_the_service_ignores_is_told() -> None:
    with scripted([answer(b"{}", x_ignored_params="temprature")]) as server, Client(server.url) as client:
        with pytest.warns(UserWarning, match="ignored: temprature"):
            client.chat_completion([], "demo", temprature=0)


def test_errors_have_one_root() -> None:
    for kind in (StatusError, ConnectionFailed, RequestTimeout, StreamInterrupted, UnexpectedAnswer, ClientClosed):
        assert issubclass(kind, ClientError) and issubclass(kind, AphroditeError)
    assert issubclass(BadRequestError, ParameterError)
    assert issubclass(ConnectionFailed, ConnectionError) and issubclass(RequestTimeout, TimeoutError)
