"""Which model a request means, on routes where it need not say."""

from __future__ import annotations

from aphrodite.service.engines.models import Models
from aphrodite.service.errors import bad_request


def chosen_model(models: Models, name: str | None) -> str:
    """The name given, or the one model that is served.

    Raises:
        ApiError: 400 where none is named and there is a choice.
    """
    found = name or models.only()
    if found is None:
        served = ", ".join(models.names()) or "none is loaded"
        raise bad_request(f"model is missing; served here: {served}", "model", "missing_required_parameter")
    return found
