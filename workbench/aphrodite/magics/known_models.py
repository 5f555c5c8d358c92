"""The served models, for those who cannot wait: a completion must not hold up the keyboard."""

from __future__ import annotations

from aphrodite.magics.errors import UsageError
from aphrodite.magics.notebook import Notebook
from aphrodite_engine.errors import AphroditeError

_SECONDS = 0.3


def known_models(notebook: Notebook) -> list[str]:
    """Their names; none where no service answers at once."""
    try:
        asking = notebook.client().start(lambda remote: remote.models())
        try:
            return [model.id for model in asking.result(_SECONDS)]
        finally:
            asking.cancel()
    except (UsageError, AphroditeError, TimeoutError):
        return []
