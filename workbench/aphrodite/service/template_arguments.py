"""Arguments of the chat template that a request brings along."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from aphrodite.service.errors import bad_request

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")

#: What the engine gives the template itself, and words of its own call.
_RESERVED = frozenset(
    ("messages", "chat_template", "tokenize", "conversation", "prompt", "sampling_params", "priority", "cache_salt")
)


def template_arguments(given: Mapping[str, Any], field: str) -> dict[str, Any]:
    """The arguments, once their names are fit to be handed on.

    Raises:
        ApiError: 400 for a name that is the engine's own, or none that a template could read.
    """
    for name in given:
        if name in _RESERVED or not _NAME.fullmatch(name):
            raise bad_request(f"{field}: {name[:80]!r} cannot be given to the chat template", field, "invalid_value")
    return dict(given)
