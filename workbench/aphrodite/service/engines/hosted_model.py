"""A loaded model in the engine process, and the requests that run on it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

import numpy as np

from aphrodite.service.engines import boundary
from aphrodite.service.engines.boundary import Facts, Failed, Stats, Token, TokenLogprob
from aphrodite.service.engines.outbox import Outbox
from aphrodite.service.engines.problems import problem_of
from aphrodite.service.memory import resident_bytes
from aphrodite_engine.errors import EngineClosedError
from aphrodite_engine.llm import LLM
from aphrodite_engine.outputs import PositionLogprobs, TokenEvent, TraceStage
from aphrodite_engine.params_json import params_from_json

logger = logging.getLogger("aphrodite.worker")

_ADMISSION_THREADS = 2
#: Texts that are turned into vectors between two looks at whether anybody still wants them.
_EMBED_TOGETHER = 64


class HostedModel:
    """Takes messages, answers into the outbox; templates, tokenizing and vectors run in threads of their own.

    Raises:
        AphroditeError: the model was refused.
    """

    def __init__(self, opening: boundary.Open, outbox: Outbox, progress: Callable[[int, int], None]) -> None:
        self._outbox = outbox
        started = time.perf_counter()
        self._llm = LLM(opening.model, progress=progress, **opening.settings)
        self._admission = ThreadPoolExecutor(_ADMISSION_THREADS, thread_name_prefix="aphrodite-admission")
        # A new grammar may take seconds: whoever asks for none does not wait for it.
        self._grammars = ThreadPoolExecutor(_ADMISSION_THREADS, thread_name_prefix="aphrodite-grammars")
        # One at a time, and not in the way of those who wait to be admitted.
        self._vectors = ThreadPoolExecutor(1, thread_name_prefix="aphrodite-vectors")
        self._taken: set[int] = set()  # waiting for a thread, or in one
        self._aborted: set[int] = set()  # of those
        self._running: dict[int, str] = {}  # our id -> the engine's
        self._lock = threading.Lock()
        self.facts = _facts(self._llm, time.perf_counter() - started)

    def take(self, message: boundary.ToEngine) -> None:
        """Begin what a message asks for; never blocks."""
        if isinstance(message, boundary.Abort):
            self._abort(message.id)
        elif isinstance(message, boundary.Generate):
            follows = "structured_outputs" in message.params
            self._begin(self._grammars if follows else self._admission, self._generate, message)
        elif isinstance(message, boundary.Embed):
            self._begin(self._vectors, self._embed, message)
        elif isinstance(message, boundary.Tokenize):
            self._begin(self._admission, self._tokenize, message)
        elif isinstance(message, boundary.Detokenize):
            self._begin(self._admission, self._detokenize, message)

    def stats(self) -> Stats:
        """A glance at the engine."""
        return Stats(**asdict(self._llm.stats()), resident_bytes=resident_bytes())

    def close(self) -> None:
        """End what runs and give the memory back."""
        for pool in (self._admission, self._grammars, self._vectors):
            pool.shutdown(wait=False, cancel_futures=True)
        self._llm.close()

    def _begin(self, pool: ThreadPoolExecutor, work: Callable[[Any], None], message: Any) -> None:
        with self._lock:
            self._taken.add(message.id)
        pool.submit(self._guarded, work, message)

    def _guarded(self, work: Callable[[Any], None], message: Any) -> None:
        """Outermost frame of a thread: whatever a request does wrong is that request's answer."""
        try:
            self._check_wanted(message.id)
            work(message)
        except Exception as error:
            problem = problem_of(error)
            if problem.kind == "internal":
                logger.exception("request %d failed", message.id)
            self._outbox.put(Failed(message.id, problem))
        finally:
            with self._lock:
                self._taken.discard(message.id)
                self._aborted.discard(message.id)

    def _abort(self, request_id: int) -> None:
        with self._lock:
            running = self._running.get(request_id)
            if running is None and request_id in self._taken:
                self._aborted.add(request_id)
        if running is not None:
            self._llm.abort(running)

    def _check_wanted(self, request_id: int) -> None:
        if request_id in self._aborted:
            raise EngineClosedError("the caller went away")

    # ---- generation

    def _generate(self, message: boundary.Generate) -> None:
        prompt: Any = message.prompt if message.messages is None else message.messages
        request = self._llm.admit(
            prompt,
            params_from_json(message.params),
            priority=message.priority,
            cache_salt=message.cache_salt,
            continuation=message.continuation,
            **message.template,
        )
        unfinished = request.params.n

        def sink(event: TokenEvent) -> None:
            nonlocal unfinished
            if event.error is not None:
                self._forget(message.id)
                self._outbox.put(Failed(message.id, problem_of(event.error)))
                return
            self._outbox.put(self._token(message.id, event))
            unfinished -= event.finish_reason is not None
            if not unfinished:
                self._forget(message.id)

        admitted = boundary.Admitted(message.id, request.seed, len(request.prompt_token_ids))
        if message.echo_ids:
            admitted.prompt_token_ids = list(request.prompt_token_ids)
            if message.messages is not None:
                admitted.rendered = request.prompt
        # In one piece: an abort finds the request either still to be queued here, or queued in the engine.
        with self._lock:
            self._check_wanted(message.id)
            self._outbox.put(admitted)
            self._llm.submit(request, sink)
            self._running[message.id] = request.request_id

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
            traces=None if event.traces is None else [list(map(_stage, position)) for position in event.traces],
            given=event.given,
        )

    def _candidates(self, position: PositionLogprobs) -> list[TokenLogprob]:
        return [
            TokenLogprob(
                i, found.logprob, found.rank, found.decoded_token, self._llm.token_bytes(i), found.entropy,
                found.raw_logprob, found.processed_logprob,
            )
            for i, found in position.items()
        ]  # fmt: skip

    # ---- everything else

    def _embed(self, message: boundary.Embed) -> None:
        rows: list[np.ndarray] = []
        for first in range(0, len(message.inputs), _EMBED_TOGETHER):
            self._check_wanted(message.id)
            inputs, pooling = message.inputs[first : first + _EMBED_TOGETHER], message.pooling
            rows.append(self._llm.embed(inputs, pooling=pooling, normalize=message.normalize))  # type: ignore[arg-type]
        counts = [len(self._llm.tokenize(text)) if isinstance(text, str) else len(text) for text in message.inputs]
        data = np.ascontiguousarray(np.concatenate(rows), dtype="<f4").tobytes()
        self._outbox.put(boundary.Vectors(message.id, len(message.inputs), data, sum(counts)))

    def _tokenize(self, message: boundary.Tokenize) -> None:
        rendered = None
        if message.messages is not None:
            rendered = self._llm.render_chat(message.messages, **message.template)
            ids = self._llm.tokenize(rendered, add_special_tokens=False)
        else:
            ids = self._llm.tokenize(message.text or "", add_special_tokens=message.add_special_tokens)
        texts = {token_id: self._llm.detokenize([token_id]) for token_id in set(ids)}
        self._outbox.put(boundary.TokenIds(message.id, ids, [texts[token_id] for token_id in ids], rendered))

    def _detokenize(self, message: boundary.Detokenize) -> None:
        text = self._llm.detokenize(message.token_ids, skip_special_tokens=message.skip_special_tokens)
        self._outbox.put(boundary.Text(message.id, text))


def _facts(llm: LLM, load_seconds: float) -> Facts:
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
        build=llm.build,
        plan=asdict(plan),
        plan_text=str(plan),
        device=plan.device,
        load_seconds=load_seconds,
        added_tokens=llm.added_tokens,
        special_ids=llm.special_ids,
    )


def _stage(stage: TraceStage) -> boundary.Stage:
    top = [(candidate.token_id, candidate.probability, candidate.decoded_token) for candidate in stage.top]
    return boundary.Stage(stage.name, stage.num_possible, stage.drawn, top, stage.coin)
