"""Prompts as a request may give them: a text, several texts, token ids, or several lists of ids."""

from __future__ import annotations

from typing import Any

from aphrodite.service.errors import ApiError, bad_request
from aphrodite.service.openai.sampling import TokenId

Prompt = str | list[int]
#: The same on the wire; which of the forms it is, and that they are not mixed, is for `listed` to see.
Prompts = str | list[str | TokenId | list[TokenId]]


def listed(name: str, given: Prompts, most: int) -> list[Prompt]:
    """One or many, as many: a list of ids is one.

    Raises:
        ApiError: 400 for none, more than `most`, an empty list of ids, or ids among texts.
    """
    found: Any = [given] if isinstance(given, str) else given
    if found and all(isinstance(item, int) for item in found):
        found = [found]
    if any(isinstance(item, int) for item in found):
        raise refused(name, "it mixes token ids with others; give one kind")
    if not 1 <= len(found) <= most:
        raise refused(name, f"{len(found):,} were given; 1 to {most:,} may be")
    if [] in found:
        raise refused(name, f"{name}[{found.index([])}] is []; at least one token id")
    return found


def refused(name: str, reason: str) -> ApiError:
    """400 for a value."""
    return bad_request(f"{name} is not allowed: {reason}", name, "invalid_value")


def refuse_unsupported(request: object, *names: str) -> None:
    """Refuse fields that are known elsewhere and without which the answer would be another one.

    Raises:
        ApiError: 400 where one of them is given and says more than "no".
    """
    for name in names:
        if getattr(request, name):
            raise bad_request(f"{name} is not supported", name, "unsupported_parameter")


def refuse_reports(request: object, *names: str) -> None:
    """Refuse fields that ask for a report which this route's answer has no place for.

    Raises:
        ApiError: 400 where one of them is given; 0 asks for a report too.
    """
    for name in names:
        if getattr(request, name) is not None:
            message = f"{name} is not supported here: /v1/chat/completions, /v1/completions and /generate answer it"
            raise bad_request(message, name, "unsupported_parameter")
