"""Prompts and answers in the log, where the operator asked for them."""

from __future__ import annotations

import logging

from aphrodite.service.access import User
from aphrodite.service.boundary import FromEngine, Generate, ToEngine, Token
from aphrodite.service.generation import Observer, Sink

logger = logging.getLogger("aphrodite.prompts")


def with_prompts(observer: Observer) -> Observer:
    """The same observer, and a line in the log for every prompt and every answer."""

    def observe(model: str, user: User, message: ToEngine) -> Sink:
        told = observer(model, user, message)
        return _Listener(told, model, user, message) if isinstance(message, Generate) else told

    return observe


class _Listener:
    """One request: collects the text of its sequences until they end."""

    def __init__(self, told: Sink, model: str, user: User, message: Generate) -> None:
        self._told, self._about = told, {"model": model, "key": user.name}
        self._texts: dict[int, str] = {}
        prompt = message.prompt if message.messages is None else message.messages
        logger.info("prompt", extra={"fields": self._about | {"prompt": prompt}})

    def __call__(self, news: FromEngine | Token) -> None:
        self._told(news)
        if isinstance(news, Token):
            self._texts[news.index] = self._texts.get(news.index, "") + news.text
            if news.finish_reason is not None:
                answer = {"index": news.index, "answer": self._texts.pop(news.index)}
                logger.info("answer", extra={"fields": self._about | answer})
