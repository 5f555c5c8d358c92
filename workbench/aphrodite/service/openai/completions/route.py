"""`POST /v1/completions`: text or token ids in, what follows out."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from aphrodite.service.engines import boundary
from aphrodite.service.engines.boundary import Facts
from aphrodite.service.http.call import Call
from aphrodite.service.http.endpoint import Endpoint
from aphrodite.service.http.replies import DONE, EventStream, data_event, json_reply
from aphrodite.service.openai.completions.choices import Choice
from aphrodite.service.openai.completions.job import Job
from aphrodite.service.openai.completions.request import CompletionRequest
from aphrodite.service.openai.prompts import Prompt
from aphrodite.service.openai.shapes import Usage, usage
from aphrodite.service.turn.merged import merged


class Completion(msgspec.Struct, kw_only=True):
    """The answer; a stream's events have the same shape.

    Attributes:
        choices: n for each prompt, in the prompts' order.
        seed: the one that was used; null where each of several prompts had its own, which its choices name.
    """

    id: str
    object: str = "text_completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage | UnsetType | None = UNSET
    system_fingerprint: str
    seed: int | None


async def create(call: Call) -> Any:
    request = await call.json(CompletionRequest)
    params, prompts = request.params(), request.prompts()
    engine, facts = call.service.models.ready(request.model)
    jobs: list[Job] = []
    try:
        for place, prompt in enumerate(prompts):
            generation = engine.generate(_message(prompt, params, request, call), call.user)
            jobs.append(Job(place, prompt, request, engine, generation))
        await call.until_gone(_admit(jobs))
        answer = Answer(request, facts, jobs)
        if request.stream:
            return EventStream(answer.events())
        return json_reply(await call.until_gone(answer.whole()))
    except BaseException:
        _abort(jobs)
        raise


def _message(prompt: Prompt, params: dict[str, Any], request: CompletionRequest, call: Call) -> boundary.Generate:
    return boundary.Generate(
        id=0,
        params=params,
        prompt=prompt,
        priority=call.user.priority,
        cache_salt=call.user.tenant,
        echo_ids=bool(request.return_token_ids) or request.scores_prompt,
    )


async def _admit(jobs: Sequence[Job]) -> None:
    for job in jobs:
        await job.admit(alone=len(jobs) == 1)


def _abort(jobs: Sequence[Job]) -> None:
    for job in jobs:
        job.abort()


class Answer:
    """The choices of every prompt, whole or in pieces."""

    def __init__(self, request: CompletionRequest, facts: Facts, jobs: Sequence[Job]) -> None:
        self.request, self.facts, self.jobs = request, facts, jobs
        self.id = "cmpl-" + secrets.token_hex(12)
        self.created = int(time.time())
        self.wants_usage = bool(request.stream_options and request.stream_options.include_usage)
        seeds = {job.seed for job in jobs}
        self.seed = seeds.pop() if len(seeds) == 1 else None

    async def whole(self) -> Completion:
        """All choices, once they are there."""
        found: dict[int, Choice] = {}
        async for pieces in self._pieces():
            for piece in pieces:
                if piece.index in found:
                    found[piece.index].join(piece)
                else:
                    found[piece.index] = piece
        drawn = [found[index] for index in sorted(found)]
        count = self.request.num_sequences
        choices = [
            choice
            for place, job in enumerate(self.jobs)
            for choice in job.best(drawn[place * count : (place + 1) * count])
        ]
        return self._completion(choices, self._usage())

    async def events(self) -> AsyncGenerator[bytes]:
        """Pieces as they come; closing the generator aborts the request."""
        blank = None if self.wants_usage else UNSET
        try:
            async for pieces in self._pieces():
                said = [piece for piece in pieces if piece.says_something]
                yield b"".join(data_event(self._completion([piece], blank)) for piece in said)
            if self.wants_usage:
                yield data_event(self._completion([], self._usage()))
            yield DONE
        finally:
            _abort(self.jobs)

    def _pieces(self) -> AsyncGenerator[list[Choice]]:
        sources = [job.pieces() for job in self.jobs]
        return sources[0] if len(sources) == 1 else merged(sources)

    def _completion(self, choices: list[Choice], usage: Usage | UnsetType | None) -> Completion:
        return Completion(
            id=self.id,
            created=self.created,
            model=self.request.model,
            choices=choices,
            usage=usage,
            system_fingerprint=self.facts.fingerprint,
            seed=self.seed,
        )

    def _usage(self) -> Usage:
        jobs = self.jobs
        return usage(
            sum(job.num_prompt for job in jobs),
            sum(job.num_output for job in jobs),
            sum(job.num_cached for job in jobs),
        )


ENDPOINTS = (
    Endpoint(
        "POST",
        "/v1/completions",
        create,
        "Continue one or several prompts, whole or as a stream.",
        request=CompletionRequest,
        answer=Completion,
        events=Completion,
        is_work=True,
    ),
)
