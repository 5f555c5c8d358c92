"""Fields that OpenAI's clients know and that would change an answer here if they could."""

from __future__ import annotations

from typing import Any

from aphrodite.service.errors import bad_request
from aphrodite.service.openai.response_format import FormatFields

#: Values that ask for nothing; null always does.
_HARMLESS: dict[str, tuple[Any, ...]] = {
    "audio": (),
    "modalities": (["text"], []),
    "prediction": (),
    "web_search_options": (),
    "functions": (),
    "function_call": (),
    "service_tier": ("auto", "default"),
    "verbosity": ("medium",),
    "chat_template": (),
    "moderation": (),
}
_INSTEAD = {
    "functions": "tools takes their place",
    "function_call": "tool_choice takes its place",
    "chat_template": "the model's own is used; chat_template_kwargs are handed to it",
    "modalities": "the models here read and write text",
}


class UnsupportedFields(FormatFields, kw_only=True):
    """Known, so that they can be refused by name. (Structures of msgspec have one base each.)"""

    audio: Any = None
    modalities: Any = None
    prediction: Any = None
    web_search_options: Any = None
    functions: Any = None
    function_call: Any = None
    service_tier: Any = None
    verbosity: Any = None
    chat_template: Any = None
    moderation: Any = None


def refuse_fields_of_chat(request: UnsupportedFields) -> None:
    """Raises ApiError 400 for the first field that asks for something."""
    for name, harmless in _HARMLESS.items():
        value = getattr(request, name)
        if value is not None and value not in harmless:
            hint = _INSTEAD.get(name) or (f"only {' or '.join(map(repr, harmless))}" if harmless else "")
            message = f"{name} is not supported{': ' + hint if hint else ''}"
            raise bad_request(message, name, "unsupported_parameter")
