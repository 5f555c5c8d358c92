"""The engine's errors as they cross to the service."""

from __future__ import annotations

from aphrodite.service.engines.boundary import Problem
from aphrodite_engine.errors import (
    ChatTemplateError,
    ContextOverflowError,
    EngineClosedError,
    MemoryPlanError,
    ModelError,
    ParameterError,
)


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
    if isinstance(error, MemoryError):
        return Problem("memory", "the machine's memory is full")
    return Problem("internal", f"the engine failed with {type(error).__name__}; its log says more")
