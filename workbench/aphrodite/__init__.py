"""Aphrodite Workbench: what users import.

Names load on first use, so `import aphrodite` costs milliseconds; torch comes when an `LLM` does.
"""

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from aphrodite_engine.version import __version__

if TYPE_CHECKING:  # type checkers and editors do not follow __getattr__
    from aphrodite.client import (
        AsyncClient,
        AuthenticationError,
        BadRequestError,
        Client,
        ClientClosed,
        ClientError,
        ConflictError,
        ConnectionFailed,
        NotFoundError,
        PermissionDeniedError,
        RateLimitError,
        RequestTimeout,
        ServerError,
        ServerUnavailable,
        StatusError,
        StreamInterrupted,
        UnexpectedAnswer,
    )
    from aphrodite.lab.comparison import Comparison, compare
    from aphrodite.lab.tree import Tree
    from aphrodite.session import NoService, Session, connect
    from aphrodite_engine.asking.replay import Replayed
    from aphrodite_engine.errors import (
        AphroditeError,
        ChatTemplateError,
        ContextOverflowError,
        EngineAsleepError,
        EngineClosedError,
        MemoryPlanError,
        ModelError,
        OriginError,
        ParameterError,
        UnsupportedModelError,
    )
    from aphrodite_engine.llm import LLM
    from aphrodite_engine.loading.plan import MemoryPlan
    from aphrodite_engine.outputs import CompletionOutput, GenerationResult, Logprob, Timing, TokenEvent
    from aphrodite_engine.params import SamplingParams
    from aphrodite_engine.prompts import Continuation
    from aphrodite_engine.recipe import Recipe

__all__ = [
    "LLM",
    "AphroditeError",
    "AsyncClient",
    "AuthenticationError",
    "BadRequestError",
    "ChatTemplateError",
    "Client",
    "ClientClosed",
    "ClientError",
    "Comparison",
    "CompletionOutput",
    "ConflictError",
    "ConnectionFailed",
    "ContextOverflowError",
    "Continuation",
    "EngineAsleepError",
    "EngineClosedError",
    "GenerationResult",
    "Logprob",
    "MemoryPlan",
    "MemoryPlanError",
    "ModelError",
    "NoService",
    "NotFoundError",
    "OriginError",
    "ParameterError",
    "PermissionDeniedError",
    "RateLimitError",
    "Recipe",
    "Replayed",
    "RequestTimeout",
    "SamplingParams",
    "ServerError",
    "ServerUnavailable",
    "Session",
    "StatusError",
    "StreamInterrupted",
    "Timing",
    "TokenEvent",
    "Tree",
    "UnexpectedAnswer",
    "UnsupportedModelError",
    "__version__",
    "compare",
    "connect",
]

_OUTPUTS = dict.fromkeys(
    ("CompletionOutput", "GenerationResult", "Logprob", "Timing", "TokenEvent"), "aphrodite_engine.outputs"
)
_CLIENT = dict.fromkeys(
    (
        "AsyncClient",
        "AuthenticationError",
        "BadRequestError",
        "Client",
        "ClientClosed",
        "ClientError",
        "ConflictError",
        "ConnectionFailed",
        "NotFoundError",
        "PermissionDeniedError",
        "RateLimitError",
        "RequestTimeout",
        "ServerError",
        "ServerUnavailable",
        "StatusError",
        "StreamInterrupted",
        "UnexpectedAnswer",
    ),
    "aphrodite.client",
)
_HOME = {
    "Continuation": "aphrodite_engine.prompts",
    "LLM": "aphrodite_engine.llm",
    "MemoryPlan": "aphrodite_engine.loading.plan",
    "Recipe": "aphrodite_engine.recipe",
    "Replayed": "aphrodite_engine.asking.replay",
    "SamplingParams": "aphrodite_engine.params",
    **_OUTPUTS,
    **_CLIENT,
    **dict.fromkeys(("Comparison", "compare"), "aphrodite.lab.comparison"),
    "Tree": "aphrodite.lab.tree",
    **dict.fromkeys(("NoService", "Session", "connect"), "aphrodite.session"),
}


def _refuse_the_other_aphrodite() -> None:
    """PyPI's `aphrodite-engine` owns the import name too: with both installed, files of one overwrite the other's."""
    # Reading folder names takes a millisecond; importlib.metadata would bring in 60 modules.
    for folder in sys.path:
        try:
            names = os.listdir(folder or ".")
        except OSError:  # a zip file, or a folder that is gone
            continue
        for name in names:
            if name.startswith("aphrodite_engine-") and name.endswith((".dist-info", ".egg-info")):
                raise ImportError(
                    "aphrodite-engine and aphrodite-workbench both provide the package `aphrodite` and cannot be "
                    "installed together; run `pip uninstall aphrodite-engine`, then install aphrodite-workbench again"
                )


_refuse_the_other_aphrodite()


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'aphrodite' has no attribute {name!r}")
    value = getattr(import_module(_HOME.get(name, "aphrodite_engine.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


def load_ipython_extension(shell: Any) -> None:
    """`%load_ext aphrodite`."""
    from aphrodite.magics import extension

    extension.load(shell)


def unload_ipython_extension(shell: Any) -> None:
    """`%unload_ext aphrodite`; the service runs on."""
    from aphrodite.magics import extension

    extension.unload(shell)
