"""Everything that passes between the service and an engine process: typed messages in length-prefixed frames.

msgpack through msgspec: a frame that is not one of these messages is an error, and nothing in it can run code.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import msgspec

from aphrodite_engine.build import Build
from aphrodite_engine.prompts import Continuation

#: A frame holds one message. The largest are prompts of a long context and vectors of 2,048 texts.
MAX_FRAME_BYTES = 256 * 2**20
_PREFIX_BYTES = 4


class Problem(msgspec.Struct, frozen=True):
    """An error on its way across.

    Attributes:
        kind: which of our errors it is: parameter, context, chat_template, grammar, model, memory, closed, internal.
        field: the parameter it is about.
    """

    kind: str
    message: str
    field: str | None = None


# ---- to the engine process


class Open(msgspec.Struct, tag="open"):
    """The first message: load this model.

    Attributes:
        settings: fields of EngineConfig.
        name: the id it is served under, for the log.
    """

    model: str
    settings: dict[str, Any] = {}
    name: str = ""


class Generate(msgspec.Struct, tag="generate", omit_defaults=True):
    """Complete a prompt (text or ids) or answer a conversation.

    Attributes:
        params: fields of SamplingParams that differ from its defaults.
        template: arguments of the chat template, with messages only.
        echo_ids: send the prompt's token ids back in Admitted, and what the chat template wrote.
    """

    id: int
    params: dict[str, Any]
    prompt: str | list[int] | None = None
    messages: list[dict[str, Any]] | None = None
    template: dict[str, Any] = {}
    priority: int = 0
    cache_salt: str = ""
    echo_ids: bool = False
    continuation: Continuation | None = None


class Embed(msgspec.Struct, tag="embed", omit_defaults=True):
    """Turn texts, or lists of ids, into vectors."""

    id: int
    inputs: list[str | list[int]]
    pooling: str | None = None
    normalize: bool = True


class Tokenize(msgspec.Struct, tag="tokenize", omit_defaults=True):
    """Token ids of a text, or of a conversation as its template writes it."""

    id: int
    text: str | None = None
    messages: list[dict[str, Any]] | None = None
    template: dict[str, Any] = {}
    add_special_tokens: bool = True


class Detokenize(msgspec.Struct, tag="detokenize", omit_defaults=True):
    """Text of token ids."""

    id: int
    token_ids: list[int]
    skip_special_tokens: bool = False


class Abort(msgspec.Struct, tag="abort"):
    """End a request before the next step."""

    id: int


class Ping(msgspec.Struct, tag="ping"):
    """Are you there, and how busy?"""

    number: int


class Close(msgspec.Struct, tag="close"):
    """Give the memory back and exit."""


ToEngine = Open | Generate | Embed | Tokenize | Detokenize | Abort | Ping | Close


# ---- from the engine process


class Progress(msgspec.Struct, tag="progress"):
    """Bytes of weights read while loading."""

    done: int
    total: int


class Facts(msgspec.Struct, frozen=True):
    """What the service says about a loaded model.

    Attributes:
        plan: fields of MemoryPlan.
        generates: False for an encoder.
        has_chat_template: whether conversations can be answered.
        template_source: the chat template; how tool calls and reasoning are written can be seen from it.
        bos: whether the tokenizer puts a token of its own in front, so that an empty prompt is not empty.
        build: what equal tokens depend on besides the request.
        added_tokens: marks of turns, calls and thoughts, which are tokens of their own: ids by text.
        special_ids: ids that are left out of texts unless asked for.
    """

    model: str
    architecture: str
    max_model_len: int
    vocab_size: int
    embedding_size: int
    generates: bool
    has_chat_template: bool
    template_source: str
    bos: bool
    build: Build
    plan: dict[str, Any]
    plan_text: str
    device: str
    load_seconds: float
    added_tokens: dict[str, int] = {}
    special_ids: frozenset[int] = frozenset()

    @property
    def fingerprint(self) -> str:
        """Equal fingerprints give equal tokens for equal requests."""
        return self.build.fingerprint


class Ready(msgspec.Struct, tag="ready"):
    """The model is loaded."""

    facts: Facts


class Refused(msgspec.Struct, tag="refused"):
    """The model could not be loaded; the process ends."""

    problem: Problem


class Admitted(msgspec.Struct, tag="admitted", omit_defaults=True):
    """A generation was checked and queued."""

    id: int
    seed: int
    prompt_tokens: int
    prompt_token_ids: list[int] | None = None
    rendered: str | None = None


class TokenLogprob(msgspec.Struct, array_like=True, omit_defaults=True):
    """One candidate at a position.

    Attributes:
        raw: the bytes that the token stands for.
        entropy: (nats) of the position's whole distribution, with the drawn token.
        raw_logprob, processed_logprob: before sampling and of what it was drawn from, with the drawn token.
    """

    token_id: int
    logprob: float
    rank: int
    text: str
    raw: bytes
    entropy: float | None = None
    raw_logprob: float | None = None
    processed_logprob: float | None = None


class Stage(msgspec.Struct, array_like=True, omit_defaults=True):
    """One stage of sampling (TraceStage); `top` is (id, probability, text)."""

    name: str
    num_possible: int
    drawn: float
    top: list[tuple[int, float, str]]
    coin: float | None = None


class Token(msgspec.Struct, array_like=True, omit_defaults=True):
    """One step's news of one sequence (TokenEvent, without what the service does not use).

    Attributes:
        logprobs: of each new token: the drawn one first, then the most likely.
        timing: queue_ms, ttft_ms, total_ms, with the last news of a sequence.
        traces: of each new token, its stages.
        given: texts of the tokens of a continuation, with its first news.
    """

    id: int
    index: int
    text: str
    token_ids: tuple[int, ...]
    finish_reason: str | None = None
    stop_reason: int | str | None = None
    cached: int = 0
    logprobs: list[list[TokenLogprob]] | None = None
    prompt_logprobs: list[list[TokenLogprob] | None] | None = None
    timing: tuple[float, float, float] | None = None
    traces: list[list[Stage]] | None = None
    given: tuple[str, ...] = ()


class Tokens(msgspec.Struct, tag="tokens"):
    """All that a step (or a few) had to say."""

    tokens: list[Token]


class Vectors(msgspec.Struct, tag="vectors"):
    """Little-endian float32, one row an input; `prompt_tokens` over all of them."""

    id: int
    rows: int
    data: bytes
    prompt_tokens: int


class TokenIds(msgspec.Struct, tag="token_ids"):
    """The answer to Tokenize: ids, the text of each, and of a conversation what its template wrote."""

    id: int
    token_ids: list[int]
    texts: list[str]
    rendered: str | None = None


class Text(msgspec.Struct, tag="text"):
    """The answer to Detokenize."""

    id: int
    text: str


class Failed(msgspec.Struct, tag="failed"):
    """A request ended with an error: nothing more comes for it."""

    id: int
    problem: Problem


class Stats(msgspec.Struct):
    """A glance at the engine; counters run since it was loaded.

    Attributes:
        step_seconds, step_tokens: how long the step in progress has taken, of how many tokens; 0 between steps.
    """

    running: int = 0
    waiting: int = 0
    kv_blocks: int = 0
    kv_blocks_used: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    preemptions: int = 0
    resident_bytes: int = 0
    step_seconds: float = 0.0
    step_tokens: int = 0


class Pong(msgspec.Struct, tag="pong"):
    """Here."""

    number: int
    stats: Stats


FromEngine = Progress | Ready | Refused | Admitted | Tokens | Vectors | TokenIds | Text | Failed | Pong

_encoder = msgspec.msgpack.Encoder()
_to_engine = msgspec.msgpack.Decoder(ToEngine)
_from_engine = msgspec.msgpack.Decoder(FromEngine)


def frame(message: ToEngine | FromEngine) -> bytes:
    """A message as it goes over the socket."""
    body = _encoder.encode(message)
    if len(body) > MAX_FRAME_BYTES:
        raise ValueError(f"a message of {len(body):,} bytes is over the {MAX_FRAME_BYTES:,} of a frame")
    return len(body).to_bytes(_PREFIX_BYTES, "big") + body


def decode_to_engine(body: bytes) -> ToEngine:
    """A frame's body, for an engine process that reads its socket in its own way."""
    return _to_engine.decode(body)


def _checked_length(prefix: bytes) -> int:
    length = int.from_bytes(prefix, "big")
    if length > MAX_FRAME_BYTES:
        raise ValueError(f"a frame announces {length:,} bytes, over the {MAX_FRAME_BYTES:,} allowed")
    return length


async def receive_from_engine(reader: asyncio.StreamReader) -> FromEngine | None:
    """The next message; None when the engine process has closed its end."""
    try:
        length = _checked_length(await reader.readexactly(_PREFIX_BYTES))
        return _from_engine.decode(await reader.readexactly(length))
    except (asyncio.IncompleteReadError, ConnectionResetError):
        return None


def receive_from_service(connection: socket.socket) -> ToEngine | None:
    """The next message, blocking; None when the service is gone."""
    prefix = _read(connection, _PREFIX_BYTES)
    body = prefix and _read(connection, _checked_length(prefix))
    return _to_engine.decode(body) if body else None


def _read(connection: socket.socket, count: int) -> bytes | None:
    parts: list[bytes] = []
    while count:
        try:
            part = connection.recv(min(count, 2**20))
        except ConnectionResetError:
            return None
        if not part:
            return None
        parts.append(part)
        count -= len(part)
    return b"".join(parts)
