"""Prompts and answers in the log, where the operator asked for them."""

from __future__ import annotations

import logging

from aphrodite.service.access import User
from aphrodite.service.engines.boundary import Generate, ToEngine
from aphrodite.service.generation import News, Sink

logger = logging.getLogger("aphrodite.prompts")


def prompts(model: str, user: User, message: ToEngine) -> Sink:
    """An Observer: a line for every prompt, and one for every answer."""
    about = {"model": model, "key": user.name}
    if isinstance(message, Generate):
        prompt = message.prompt if message.messages is None else message.messages
        logger.info("prompt", extra={"fields": about | {"prompt": prompt}})
    texts: dict[int, str] = {}

    def listen(news: News) -> None:
        for token in news if isinstance(news, list) else ():
            texts[token.index] = texts.get(token.index, "") + token.text
            if token.finish_reason is not None:
                answer = {"index": token.index, "answer": texts.pop(token.index)}
                logger.info("answer", extra={"fields": about | answer})

    return listen
