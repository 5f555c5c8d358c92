"""The step loop: schedule -> run -> update, and what each drawn token means for its sequence."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

from aphrodite_engine.constraints.redraws import MAX_IN_A_ROW, Redraws
from aphrodite_engine.dead_end import dead_end, is_lost, not_allowed
from aphrodite_engine.errors import EngineAsleepError
from aphrodite_engine.inside.hidden_states import joined
from aphrodite_engine.job import Job
from aphrodite_engine.kv_cache import root_hash
from aphrodite_engine.outputs import (
    Logprob,
    PositionLogprobs,
    StageCandidate,
    TokenEvent,
    TraceStage,
)
from aphrodite_engine.pulse import Pulse
from aphrodite_engine.request import Request, Sequence
from aphrodite_engine.running.flight import ChunkResult, Flight
from aphrodite_engine.running.flights import Flights
from aphrodite_engine.running.runner import Runner
from aphrodite_engine.sampling.feedback import feedback_of
from aphrodite_engine.sampling.history import TokenHistory
from aphrodite_engine.sampling.logprobs import TopLogprobs
from aphrodite_engine.sampling.pipeline import Drawn
from aphrodite_engine.sampling.steps import uses_history, uses_suffixes
from aphrodite_engine.sampling.suffixes import SuffixMatches
from aphrodite_engine.sampling.trace import Stage
from aphrodite_engine.scheduler import Scheduler
from aphrodite_engine.sequence_text import End, Limits, News, Reported, SequenceText, as_one
from aphrodite_engine.tokenizer import Tokenizer
from aphrodite_kernels.sample import NOTHING


@dataclass(frozen=True)
class EngineStats:
    """A glance at an engine; counters run since it was loaded.

    Attributes:
        running, waiting: sequences.
        kv_blocks, kv_blocks_used: blocks of 16 tokens; cached blocks that nobody holds count as free.
        cached_tokens: prompt tokens that were found in the cache, of prompt_tokens; what a continuation begins with
            counts with the prompt.
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
    step_seconds: float = 0.0
    step_tokens: int = 0


class Engine:
    """One model, served one step at a time. Not thread-safe: one thread owns it (loop.py)."""

    def __init__(
        self,
        runner: Runner,
        scheduler: Scheduler,
        tokenizer: Tokenizer | None,
        *,
        model_key: str,
        vocab_size: int,
        max_model_len: int,
        eos_token_ids: tuple[int, ...],
        run_ahead: bool = False,
    ) -> None:
        self.runner, self.scheduler, self.tokenizer = runner, scheduler, tokenizer
        self.model_key, self.vocab_size, self.max_model_len = model_key, vocab_size, max_model_len
        self.eos_token_ids = eos_token_ids
        self._limits = Limits(eos_token_ids, max_model_len)
        self._jobs: dict[str, Job] = {}
        self._texts: dict[Sequence, SequenceText] = {}
        self._pulse = Pulse()
        self._flights = Flights(runner, scheduler, self._limits, self._pulse, run_ahead)
        self._prompt_tokens = self._cached_tokens = self._output_tokens = 0

    def stats(self) -> EngineStats:
        """Figures of this moment; the one method that other threads may call."""
        scheduler, pool = self.scheduler, self.scheduler.pool
        step_seconds, step_tokens = self._pulse.read()
        return EngineStats(
            running=len(scheduler.running),
            waiting=len(scheduler.waiting),
            kv_blocks=pool.num_blocks,
            kv_blocks_used=pool.num_blocks - pool.num_free,
            prompt_tokens=self._prompt_tokens,
            cached_tokens=self._cached_tokens,
            output_tokens=self._output_tokens,
            preemptions=scheduler.num_preemptions,
            step_seconds=step_seconds,
            step_tokens=step_tokens,
        )

    @property
    def has_work(self) -> bool:
        return bool(self._jobs)

    def is_running(self, request_id: str) -> bool:
        """Whether any of the request's sequences is unfinished."""
        return request_id in self._jobs

    def add(self, request: Request) -> list[TokenEvent]:
        """Queue a checked request; where that fails, it leaves nothing behind.

        Returns:
            Of a continuation the news of what is already there, with which it may end.

        Raises:
            EngineAsleepError: it came while the engine sleeps.
        """
        if not self.runner.is_furnished:
            raise EngineAsleepError("this engine sleeps: call wake() first")
        root = root_hash(self.model_key, request.cache_salt, request.steering.digest)
        count = request.params.n if request.draws else 1
        sequences = [Sequence(request, index, root) for index in range(count)]
        for sequence in sequences:
            self._begin_memory(sequence)
        if request.grammar is not None:
            for sequence in sequences:
                sequence.grammar = request.grammar.start()
        tokenizer = self.tokenizer if request.draws else None
        texts = {sequence: SequenceText(request, tokenizer, self._limits) for sequence in sequences}
        self._jobs[request.request_id] = Job(request, time.perf_counter(), sequences, count)
        self._texts |= texts
        for sequence in sequences:
            self.scheduler.add(sequence)
        return self._begin_given(self._jobs[request.request_id], sequences[0])

    def _begin_given(self, job: Job, sequence: Sequence) -> list[TokenEvent]:
        """Output that is already there counts as drawn. Samplers that learn from draws see it one token at a time."""
        given = job.request.continuation.token_ids if job.request.continuation else ()
        if feedback_of(job.request.params):
            sequence.imposed = given
            return []
        return next((events for token_id in given if (events := self._give(job, sequence, token_id))), [])

    def _give(self, job: Job, sequence: Sequence, token_id: int) -> list[TokenEvent]:
        """A token as if it had been drawn; the last one that counts tells of all of them."""
        assert job.request.continuation is not None
        sequence.append(token_id)
        if is_lost(sequence):
            return self._fail(job.request.request_id, not_allowed(sequence, self._token_text(token_id)))
        params = job.request.params
        logprobs, trace = None if params.logprobs is None else {}, None if params.trace is None else ()
        token = Reported(token_id, logprobs, trace, self._token_text(token_id))
        job.given.append(self._texts[sequence].give(sequence, token))
        ended = job.given[-1].end.reason is not None
        if not ended and sequence.num_output < len(job.request.continuation.token_ids):
            return []
        return [self._report(job, sequence, as_one(job.given))]

    def _begin_memory(self, sequence: Sequence) -> None:
        """What the sampler will ask about the sequence's tokens."""
        request = sequence.request
        if uses_history(request.params):
            sequence.history = TokenHistory(self.vocab_size, request.prompt_token_ids, (), self.runner.device)
        if uses_suffixes(request.params):
            sequence.suffixes = SuffixMatches(request.prompt_token_ids)
        if request.params.banned_phrases:
            sequence.redraws = Redraws()

    def sleep(self, error: BaseException) -> list[TokenEvent]:
        """Give memory back until wake(); requests that run end with this error. See LLM.sleep."""
        self.runner.sleep()  # where this raises, all goes on
        events = self.fail_all(error)
        self.scheduler.forget_cache()
        return events

    def wake(self) -> list[TokenEvent]:
        """Run requests again. There is no news."""
        self.runner.wake()
        return []

    def abort(self, request_id: str) -> list[TokenEvent]:
        """End a request now, keep what it has; its blocks are free before the next step. Unknown ids are ignored."""
        job = self._jobs.get(request_id)
        if job is None:
            return []
        running = [sequence for sequence in job.sequences if sequence in self._texts]
        return [self._report(job, sequence, self._texts[sequence].close(End("abort"))) for sequence in running]

    def fail_step(self, error: BaseException) -> list[TokenEvent]:
        """After step() raised: end, with this error, the requests that took part in it. The others go on."""
        chunks = self._flights.at_stake
        took_part = self._jobs if chunks is None else (chunk.sequence.request.request_id for chunk in chunks)
        return [event for request_id in dict.fromkeys(took_part) for event in self._fail(request_id, error)]

    def fail_all(self, error: BaseException) -> list[TokenEvent]:
        """End every request with this error."""
        return [event for request_id in list(self._jobs) for event in self._fail(request_id, error)]

    @torch.inference_mode()
    def step(self) -> list[TokenEvent]:
        """One step for everyone; returns its news."""
        flight = self._flights.land()
        if flight is None:
            if self.has_work:
                raise RuntimeError("the scheduler found nothing to run although requests wait")
            return []
        with self._pulse.during(flight.num_tokens):
            self._note_start(flight)
            return [event for result in flight.results for event in self._digest(result)]

    def _note_start(self, flight: Flight) -> None:
        for sequence in (chunk.sequence for chunk in flight.chunks):
            job = self._jobs.get(sequence.request.request_id)
            if job is not None and job.first_step is None:
                job.first_step = flight.launched
                self._prompt_tokens += len(sequence.token_ids)
                self._cached_tokens += sequence.num_cached or 0

    def _digest(self, result: ChunkResult) -> list[TokenEvent]:
        sequence = result.chunk.sequence
        if sequence not in self._texts:
            return []  # it ended while the step ran, or a sibling failed a moment ago, and with it the request
        job = self._jobs[sequence.request.request_id]
        if sequence.request.capture is not None:
            return self._digest_captured(job, result)
        if sequence.request.pooling is not None:
            return self._digest_embedding(job, result)
        if sequence.request.params.prompt_logprobs is not None and sequence.index == 0:
            self._collect_prompt_logprobs(job, result)
        if result.drawn is None:
            return []
        if result.drawn.token_id == NOTHING or is_lost(sequence):
            return self._fail(sequence.request.request_id, dead_end(sequence))
        return self._digest_token(job, sequence, result.drawn)

    def _digest_token(self, job: Job, sequence: Sequence, drawn: Drawn) -> list[TokenEvent]:
        if sequence.forced is not None:
            events, sequence.feedback = self._give(job, sequence, drawn.token_id), drawn.feedback
            return events
        token_id, logprobs = drawn.token_id, drawn.logprobs
        sequence.append(token_id)
        sequence.feedback = drawn.feedback
        position = None if logprobs is None else self._position(token_id, logprobs)
        trace = None if drawn.trace is None else tuple(map(self._stage, drawn.trace))
        news = self._texts[sequence].add(sequence, Reported(token_id, position, trace))
        if news.take_back is not None:
            return self._take_back(sequence, news.take_back)
        return [self._report(job, sequence, news)] if news.tokens else []

    def _take_back(self, sequence: Sequence, position: int) -> list[TokenEvent]:
        self.scheduler.take_back(sequence, position)
        assert sequence.redraws is not None
        if sequence.redraws.in_a_row < MAX_IN_A_ROW:
            return []
        return self._fail(sequence.request.request_id, dead_end(sequence))

    def _report(self, job: Job, sequence: Sequence, news: News) -> TokenEvent:
        """What a caller hears of a sequence; it is over where it has ended."""
        is_first = self._texts[sequence].num_shown == len(news.tokens)
        given = tuple(token.given for token in news.tokens if token.given is not None)
        num_drawn = len(news.tokens) - len(given)
        if num_drawn and job.first_token is None:
            job.first_token = time.perf_counter()
        self._output_tokens += num_drawn
        has_ended = news.end.reason is not None
        if has_ended:
            self._close(job, sequence)
        return TokenEvent(
            request_id=job.request.request_id,
            index=sequence.index,
            seed=job.request.seed,
            text=news.text,
            token_ids=tuple(token.token_id for token in news.tokens),
            logprobs=_of_each([token.logprobs for token in news.tokens]),
            traces=_of_each([token.trace for token in news.tokens]),
            finish_reason=news.end.reason,
            stop_reason=news.end.by,
            prompt_logprobs=job.prompt_logprobs_with(sequence) if is_first or has_ended else None,
            num_cached_tokens=sequence.num_cached or 0,
            timing=job.timing if has_ended else None,
            given=given,
        )

    def _close(self, job: Job, sequence: Sequence) -> None:
        del self._texts[sequence]
        self.scheduler.finish(sequence)
        job.unfinished -= 1
        if job.unfinished == 0:
            self._forget(job)

    def _forget(self, job: Job) -> None:
        del self._jobs[job.request.request_id]
        if not self._jobs:
            self._flights.forget()

    def _fail(self, request_id: str, error: BaseException) -> list[TokenEvent]:
        job = self._jobs.get(request_id)
        if job is None:
            return []
        self._forget(job)
        for sequence in job.sequences:
            if self._texts.pop(sequence, None) is not None:
                self.scheduler.finish(sequence)
        return [TokenEvent(request_id, 0, job.request.seed, finish_reason="error", error=error)]

    def _collect_prompt_logprobs(self, job: Job, result: ChunkResult) -> None:
        following = result.chunk.start + 1
        # Once more where tokens were computed again.
        job.prompt_logprobs = [None, *job.prompt_logprobs[1:following]]
        for place, logprobs in enumerate(result.prompt_logprobs, start=following):
            job.prompt_logprobs.append(self._position(job.request.prompt_token_ids[place], logprobs))

    def _position(self, token_id: int, found: TopLogprobs) -> PositionLogprobs:
        own = Logprob(found.logprob, found.rank, self._token_text(token_id), found.entropy, found.raw, found.processed)
        position = {token_id: own}
        for other, logprob in found.top:
            rank = 1 + sum(better > logprob for _, better in found.top)
            position.setdefault(other, Logprob(logprob, rank, self._token_text(other)))
        return position

    def _stage(self, found: Stage) -> TraceStage:
        top = tuple(StageCandidate(token_id, p, self._token_text(token_id)) for token_id, p in found.top)
        return TraceStage(found.name, found.num_possible, found.drawn, top, found.coin)

    def _token_text(self, token_id: int) -> str:
        return self.tokenizer.token_text(token_id) if self.tokenizer else ""

    def _digest_captured(self, job: Job, result: ChunkResult) -> list[TokenEvent]:
        assert result.captured is not None
        if result.chunk.start == 0:
            job.captured.clear()  # a preempted request starts over
        job.captured.append(result.captured)
        if not result.chunk.samples:
            return []
        self._close(job, result.chunk.sequence)
        request = job.request
        return [TokenEvent(request.request_id, 0, request.seed, finish_reason="stop", captured=joined(job.captured))]

    def _digest_embedding(self, job: Job, result: ChunkResult) -> list[TokenEvent]:
        assert result.hidden is not None
        pooling = job.request.pooling
        if result.chunk.start == 0:
            job.hidden.clear()  # a preempted request starts over
        job.hidden.append(result.hidden if pooling == "mean" else result.hidden[-1:])
        if not result.chunk.samples:
            return []
        # One mean over all tokens: a sum of chunk sums would round differently for every way of chunking.
        vector = torch.cat(job.hidden).mean(0) if pooling == "mean" else job.hidden[-1][-1]
        self._close(job, result.chunk.sequence)
        embedding: np.ndarray = vector.cpu().numpy()
        return [TokenEvent(job.request.request_id, 0, job.request.seed, finish_reason="stop", embedding=embedding)]


Item = TypeVar("Item")


def _of_each(items: list[Item | None]) -> tuple[Item, ...] | None:
    """None where nothing was asked for."""
    asked = [item for item in items if item is not None]
    return tuple(asked) if asked else None
