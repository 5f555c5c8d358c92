"""Prompts and answers in the log, where the operator asked for them."""

from __future__ import annotations

import logging

from aphrodite.service.access import User
from aphrodite.service.boundary import FromEngine, Generate, ToEngine, Token
from aphrodite.service.generation import Sink

logger = logging.getLogger("aphrodite.prompts")


def prompts(model: str, user: User, message: ToEngine) -> Sink:
    """An Observer: a line for every prompt, and one for every answer."""
    about = {"model": model, "key": user.name}
    if isinstance(message, Generate):
        prompt = message.prompt if message.messages is None else message.messages
        logger.info("prompt", extra={"fields": about | {"prompt": prompt}})
    texts: dict[int, str] = {}

    def listen(news: FromEngine | Token) -> None:
        if isinstance(news, Token):
            texts[news.index] = texts.get(news.index, "") + news.text
            if news.finish_reason is not None:
                answer = {"index": news.index, "answer": texts.pop(news.index)}
                logger.info("answer", extra={"fields": about | answer})

    return listen
