"""What a caller holds while the engine works for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from itertools import chain

from aphrodite.service.access import User
from aphrodite.service.engines.boundary import Admitted, Failed, FromEngine, Problem, ToEngine, Token

#: What the engine says about one request; tokens that come together are told together.
News = FromEngine | list[Token]
#: Told everything that becomes of one request, in the event loop: it must be quick.
Sink = Callable[[News], None]
#: Makes one for a request of this user to the model of this id.
Observer = Callable[[str, User, ToEngine], Sink]

#: News a caller may leave unread before its request is ended.
MAX_UNREAD_TOKENS = 4096

_SLOW = Problem(
    "slow_reader", f"the answer was not read: {MAX_UNREAD_TOKENS} tokens were waiting, so the request was ended"
)
_REVOKED = Problem("revoked", "the key was revoked while this request ran")


class EngineFailure(Exception):
    """A request, or a start, ended with this problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class Generation:
    """A running generation: what the engine says about it, in order. One task reads it; any may abort it."""

    def __init__(
        self, request_id: int, sequences: int, abort: Callable[[int], None], observed: Sink, user: User
    ) -> None:
        self.id = request_id
        self._user = user
        self._observed = observed
        self._unfinished = sequences
        self._abort = abort
        self._admitted: Admitted | None = None
        self._unread: list[Token] = []
        self._problem: Problem | None = None
        self._news = asyncio.Event()

    @property
    def finished(self) -> bool:
        return self._unfinished == 0 or self._problem is not None

    async def admitted(self) -> Admitted:
        """Wait until the engine has checked the request.

        Raises:
            EngineFailure: it refused.
        """
        while self._admitted is None:
            await self._wait()
        return self._admitted

    async def news(self) -> list[Token]:
        """What has come since the last call, at least one token; [] when every sequence has ended.

        Raises:
            EngineFailure: the request ended with an error.
        """
        while not self._unread:
            if self._unfinished == 0:
                return []
            await self._wait()
        found, self._unread = self._unread, []
        return found

    def abort(self) -> None:
        """End it, if it still runs; what is unread is forgotten."""
        if not self.finished:
            self._end_with(Problem("closed", "aborted"))

    def put(self, news: News) -> None:
        """The engine's news, in the event loop."""
        self._observed(news)
        if isinstance(news, list):
            self._take(news)
        elif isinstance(news, Failed):
            self._problem = news.problem
        elif isinstance(news, Admitted):
            self._admitted = news
        self._news.set()

    def _take(self, tokens: list[Token]) -> None:
        self._unread += tokens
        for token in tokens:
            self._unfinished -= token.finish_reason is not None
        if self._user.meter.revoked and self._unfinished:
            self._end_with(_REVOKED)
        elif len(self._unread) > MAX_UNREAD_TOKENS and self._unfinished:
            self._end_with(_SLOW)

    def _end_with(self, problem: Problem) -> None:
        self._unread.clear()
        self._problem = problem
        self._observed(Failed(self.id, problem))
        self._news.set()
        self._abort(self.id)

    async def _wait(self) -> None:
        """Until something has come; an error waits until everything before it was read."""
        if self._problem is not None:
            raise EngineFailure(self._problem)
        self._news.clear()
        await self._news.wait()


def joined(tokens: Iterable[Token]) -> list[Token]:
    """What has come of each sequence, as if it had come in one step."""
    found: dict[int, list[Token]] = {}
    for token in tokens:
        found.setdefault(token.index, []).append(token)
    return [_one(parts) if len(parts) > 1 else parts[0] for parts in found.values()]


def _one(parts: Sequence[Token]) -> Token:
    last = parts[-1]
    return Token(
        last.id,
        last.index,
        "".join([part.text for part in parts]),
        tuple(chain.from_iterable([part.token_ids for part in parts])),
        last.finish_reason,
        last.stop_reason,
        max([part.cached for part in parts]),
        None if last.logprobs is None else list(chain.from_iterable([part.logprobs or () for part in parts])),
        next((part.prompt_logprobs for part in parts if part.prompt_logprobs is not None), None),
        last.timing,
        None if last.traces is None else list(chain.from_iterable([part.traces or () for part in parts])),
    )


class Question:
    """A request with one answer."""

    def __init__(self, observed: Sink) -> None:
        self._observed = observed
        self.answer: asyncio.Future[FromEngine] = asyncio.get_running_loop().create_future()

    @property
    def finished(self) -> bool:
        return self.answer.done()

    def put(self, news: News) -> None:
        """The engine's answer, in the event loop."""
        if self.answer.done():
            return
        self._observed(news)
        if isinstance(news, Failed):
            self.answer.set_exception(EngineFailure(news.problem))
        elif not isinstance(news, list):
            self.answer.set_result(news)
