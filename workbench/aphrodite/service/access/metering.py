"""Tokens counted where they pass: at the engine's news of each request."""

from __future__ import annotations

from aphrodite.service.access.user import User
from aphrodite.service.boundary import Admitted, FromEngine, ToEngine, Token, Vectors
from aphrodite.service.generation import Observer, Sink


def metered(model: str, user: User, request: ToEngine) -> Sink:
    """Counts against the caller's limits."""
    spent = user.meter.spent

    def count(news: FromEngine | Token) -> None:
        if isinstance(news, Token):
            spent(0, len(news.token_ids))
        elif isinstance(news, Admitted | Vectors):
            spent(news.prompt_tokens, 0)

    return count


def told(*observers: Observer) -> Observer:
    """All of them as one."""

    def observe(model: str, user: User, request: ToEngine) -> Sink:
        sinks = [observer(model, user, request) for observer in observers]

        def tell(news: FromEngine | Token) -> None:
            for sink in sinks:
                sink(news)

        return tell

    return observe
