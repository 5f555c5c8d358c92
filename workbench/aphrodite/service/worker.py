"""The engine process: `python -m aphrodite.service.worker SOCKET`. One model, one connection to the service.

Three kinds of threads: this one reads messages, a few admit requests (templates, tokenizing, grammars, vectors), and
one writes; the engine's own thread hands its events to the writer and never waits for any of them. When the service
goes away, however it does, so does this process.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import queue
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

import numpy as np

from aphrodite.service import boundary
from aphrodite.service.boundary import Facts, Failed, FromEngine, Problem, Stats, Token, TokenLogprob
from aphrodite_engine.errors import (
    AphroditeError,
    ChatTemplateError,
    ContextOverflowError,
    EngineClosedError,
    MemoryPlanError,
    ModelError,
    ParameterError,
)
from aphrodite_engine.llm import LLM
from aphrodite_engine.outputs import PositionLogprobs, TokenEvent
from aphrodite_engine.params import SamplingParams

logger = logging.getLogger("aphrodite.worker")

_ADMISSION_THREADS = 2
_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Serve the one connection until the other end closes."""
    _die_with_the_service()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.connect(sys.argv[1])
    first = boundary.receive_from_service(connection)
    if not isinstance(first, boundary.Open):
        return
    writer = Writer(connection)
    try:
        worker = Worker(first, writer)
    except (AphroditeError, OSError, MemoryError) as error:
        writer.put(boundary.Refused(problem_of(error)))
        writer.close()
        return
    worker.serve(connection)
    # The engine's memory goes with the process; closing it first ends its thread between two steps, not in one.
    worker.close()


def _die_with_the_service() -> None:
    """The service ends this process by closing the socket; the kernel does where this process cannot notice."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal reaches the whole group; the service decides
    if sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died in between
            sys.exit(0)


class Writer:
    """A thread that sends messages; tokens that pile up while it sends go out together in one frame."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._outbox: queue.SimpleQueue[FromEngine | Token | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="aphrodite-writer", daemon=True)
        self._thread.start()

    def put(self, message: FromEngine | Token) -> None:
        """Queue a message; never blocks."""
        self._outbox.put(message)

    def close(self) -> None:
        """Send what is queued and end."""
        self._outbox.put(None)
        self._thread.join()

    def _run(self) -> None:
        while True:
            frames, open_ = self._gathered()
            try:
                self._connection.sendall(frames)
            except OSError:  # the service is gone: the reading thread sees it too and ends the process
                return
            if not open_:
                return

    def _gathered(self) -> tuple[bytes, bool]:
        """Frames of everything that waits, and False when it is the last."""
        messages: list[FromEngine] = []
        tokens: list[Token] = []
        item = self._outbox.get()
        while True:
            if isinstance(item, Token):
                tokens.append(item)
            else:
                if tokens:
                    messages.append(boundary.Tokens(tokens))
                    tokens = []
                if item is None:
                    return b"".join(map(boundary.frame, messages)), False
                messages.append(item)
            try:
                item = self._outbox.get_nowait()
            except queue.Empty:
                break
        if tokens:
            messages.append(boundary.Tokens(tokens))
        return b"".join(map(boundary.frame, messages)), True


class Worker:
    """A loaded model and the requests that run on it."""

    def __init__(self, opening: boundary.Open, writer: Writer) -> None:
        self._writer = writer
        started = time.perf_counter()
        self._llm = LLM(opening.model, **opening.settings)
        self._pool = ThreadPoolExecutor(_ADMISSION_THREADS, thread_name_prefix="aphrodite-admission")
        self._running: dict[int, str] = {}  # our id -> the engine's
        self._aborted: set[int] = set()  # aborted while they were being admitted
        self._admitting: set[int] = set()
        self._lock = threading.Lock()
        writer.put(boundary.Ready(_facts(self._llm, opening, time.perf_counter() - started)))

    def serve(self, connection: socket.socket) -> None:
        """Answer messages until the service closes its end or says so."""
        while (message := boundary.receive_from_service(connection)) is not None:
            if isinstance(message, boundary.Close):
                return
            if isinstance(message, boundary.Ping):
                self._writer.put(boundary.Pong(message.number, self._stats()))
            elif isinstance(message, boundary.Abort):
                self._abort(message.id)
            elif isinstance(message, boundary.Generate):
                with self._lock:
                    self._admitting.add(message.id)
                self._pool.submit(self._guarded, message.id, self._generate, message)
            elif isinstance(message, boundary.Embed):
                self._pool.submit(self._guarded, message.id, self._embed, message)
            elif isinstance(message, boundary.Tokenize):
                self._pool.submit(self._guarded, message.id, self._tokenize, message)
            elif isinstance(message, boundary.Detokenize):
                self._pool.submit(self._guarded, message.id, self._detokenize, message)

    def close(self) -> None:
        """End what runs, give the memory back, say what is left to say."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._llm.close()
        self._writer.close()

    def _guarded(self, request_id: int, work: Callable[[Any], None], message: Any) -> None:
        """Outermost frame of an admission thread: whatever a request does wrong is that request's answer."""
        try:
            work(message)
        except Exception as error:
            problem = problem_of(error)
            if problem.kind == "internal":
                logger.exception("request %d failed", request_id)
            self._writer.put(Failed(request_id, problem))
        finally:
            with self._lock:
                self._admitting.discard(request_id)
                self._aborted.discard(request_id)

    # ---- generation

    def _generate(self, message: boundary.Generate) -> None:
        prompt: Any = message.prompt if message.messages is None else message.messages
        request = self._llm.admit(
            prompt,
            SamplingParams.from_fields(_with_integer_keys(message.params)),
            priority=message.priority,
            cache_salt=message.cache_salt,
            **message.template,
        )
        unfinished = request.params.n

        def sink(event: TokenEvent) -> None:
            nonlocal unfinished
            if event.error is not None:
                self._forget(message.id)
                self._writer.put(Failed(message.id, problem_of(event.error)))
                return
            self._writer.put(self._token(message.id, event))
            unfinished -= event.finish_reason is not None
            if not unfinished:
                self._forget(message.id)

        ids = list(request.prompt_token_ids)
        with self._lock:
            if message.id in self._aborted:
                raise EngineClosedError("the caller went away")
            self._running[message.id] = request.request_id
        self._writer.put(boundary.Admitted(message.id, request.seed, len(ids), ids if message.echo_ids else None))
        self._llm.submit(request, sink)

    def _abort(self, request_id: int) -> None:
        with self._lock:
            running = self._running.get(request_id)
            if running is None and request_id in self._admitting:
                self._aborted.add(request_id)
        if running is not None:
            self._llm.abort(running)

    def _forget(self, request_id: int) -> None:
        with self._lock:
            self._running.pop(request_id, None)

    def _token(self, request_id: int, event: TokenEvent) -> Token:
        timing = event.timing
        return Token(
            id=request_id,
            index=event.index,
            text=event.text,
            token_ids=event.token_ids,
            finish_reason=event.finish_reason,
            stop_reason=event.stop_reason,
            cached=event.num_cached_tokens,
            logprobs=None if event.logprobs is None else [self._candidates(p) for p in event.logprobs],
            prompt_logprobs=None
            if event.prompt_logprobs is None
            else [None if p is None else self._candidates(p) for p in event.prompt_logprobs],
            timing=None if timing is None else (timing.queue_ms, timing.ttft_ms, timing.total_ms),
        )

    def _candidates(self, position: PositionLogprobs) -> list[TokenLogprob]:
        return [
            TokenLogprob(token_id, found.logprob, found.rank, found.decoded_token, self._llm.token_bytes(token_id))
            for token_id, found in position.items()
        ]

    # ---- everything else

    def _embed(self, message: boundary.Embed) -> None:
        pooling: Any = message.pooling
        vectors = self._llm.embed(message.inputs, pooling=pooling, normalize=message.normalize)
        counts = [len(self._llm.tokenize(text)) if isinstance(text, str) else len(text) for text in message.inputs]
        data = np.ascontiguousarray(vectors, dtype="<f4").tobytes()
        self._writer.put(boundary.Vectors(message.id, len(vectors), data, sum(counts)))

    def _tokenize(self, message: boundary.Tokenize) -> None:
        if message.messages is not None:
            text = self._llm.render_chat(message.messages, **message.template)
            ids = self._llm.tokenize(text, add_special_tokens=False)
        else:
            ids = self._llm.tokenize(message.text or "", add_special_tokens=message.add_special_tokens)
        self._writer.put(boundary.TokenIds(message.id, ids, [self._llm.detokenize([i]) for i in ids]))

    def _detokenize(self, message: boundary.Detokenize) -> None:
        self._writer.put(boundary.Text(message.id, self._llm.detokenize(message.token_ids)))

    def _stats(self) -> Stats:
        return Stats(**asdict(self._llm.stats()), resident_bytes=_resident_bytes())


def problem_of(error: BaseException) -> Problem:
    """An error as the service can pass it on; what is our own fault keeps its details in the log."""
    if isinstance(error, ContextOverflowError):
        return Problem("context", str(error), "messages")
    if isinstance(error, ParameterError):
        return Problem("parameter", str(error), error.field)
    if isinstance(error, ChatTemplateError):
        return Problem("chat_template", str(error), "messages")
    if isinstance(error, EngineClosedError):
        return Problem("closed", str(error))
    if isinstance(error, MemoryPlanError):
        return Problem("memory", str(error))
    if isinstance(error, ModelError):
        return Problem("model", str(error))
    return Problem("internal", f"the engine failed with {type(error).__name__}; its log says more")


def _with_integer_keys(params: Mapping[str, Any]) -> dict[str, Any]:
    """JSON has string keys only; logit_bias is keyed by token id."""
    bias = params.get("logit_bias")
    return {**params, "logit_bias": {int(key): value for key, value in bias.items()}} if bias else dict(params)


def _facts(llm: LLM, opening: boundary.Open, load_seconds: float) -> Facts:
    facts, plan, template = llm.facts, llm.plan, llm.chat_template
    return Facts(
        model=llm.model,
        architecture=facts.architecture,
        max_model_len=llm.max_model_len,
        vocab_size=facts.vocab_size,
        embedding_size=facts.hidden_size,
        generates=facts.path != "encoder",
        has_chat_template=bool(template),
        template_source=template,
        bos=bool(llm.tokenize("")) if llm.has_tokenizer else False,
        fingerprint=_fingerprint(llm, opening),
        plan=asdict(plan),
        plan_text=str(plan),
        device=plan.device,
        load_seconds=load_seconds,
    )


def _fingerprint(llm: LLM, opening: boundary.Open) -> str:
    import torch

    from aphrodite import __version__

    files = sorted((f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in llm.facts.folder.glob("*.safetensors"))
    parts = (
        __version__,
        torch.__version__,
        llm.plan.device,
        llm.plan.dtype,
        llm.config.determinism,
        opening.model,
        files,
    )
    return "fp_" + hashlib.blake2b(repr(parts).encode(), digest_size=6).hexdigest()


def _resident_bytes() -> int:
    if sys.platform == "linux":
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
