"""Tokens counted where they pass: at the engine's news of each request."""

from __future__ import annotations

from aphrodite.service.access.user import User
from aphrodite.service.engines.boundary import Admitted, ToEngine, Vectors
from aphrodite.service.generation import News, Observer, Sink


def metered(model: str, user: User, request: ToEngine) -> Sink:
    """Counts against the caller's limits."""
    spent = user.meter.spent

    def count(news: News) -> None:
        if isinstance(news, list):
            spent(0, sum([len(token.token_ids) for token in news]))
        elif isinstance(news, Admitted | Vectors):
            spent(news.prompt_tokens, 0)

    return count


def told(*observers: Observer) -> Observer:
    """All of them as one."""

    def observe(model: str, user: User, request: ToEngine) -> Sink:
        sinks = [observer(model, user, request) for observer in observers]

        def tell(news: News) -> None:
            for sink in sinks:
                sink(news)

        return tell

    return observe
