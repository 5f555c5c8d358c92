"""Labels that callers hang on stored things."""

from __future__ import annotations

from collections.abc import Mapping

from aphrodite.service.errors import bad_request

_MAX_PAIRS, _MAX_KEY, _MAX_VALUE = 16, 64, 512


def checked_metadata(given: Mapping[str, str] | None) -> dict[str, str]:
    """The labels, if they are as few and short as OpenAI allows.

    Raises:
        ApiError: 400.
    """
    given = given or {}
    if len(given) > _MAX_PAIRS:
        raise bad_request(f"metadata has {len(given)} keys; at most {_MAX_PAIRS} are allowed", "metadata")
    for key, value in given.items():
        if not 0 < len(key) <= _MAX_KEY:
            raise bad_request(f"metadata: keys have 1 to {_MAX_KEY} characters", "metadata", "invalid_value")
        if len(value) > _MAX_VALUE:
            raise bad_request(f"metadata.{key} is longer than {_MAX_VALUE} characters", "metadata", "invalid_value")
    return dict(given)
