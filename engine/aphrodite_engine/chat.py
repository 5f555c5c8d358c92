"""A conversation as the model's own template writes it, rendered in a sandbox."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

from jinja2 import TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from aphrodite_engine.errors import ChatTemplateError, ModelError
from aphrodite_engine.loading.weights import MAX_CONFIG_BYTES, model_file
from aphrodite_engine.prompts import Message
from aphrodite_engine.tokenizer import Tokenizer

ROLES = ("system", "developer", "user", "assistant", "tool")

#: What a template can fail with when it runs: its own refusal, or a mistake in it that Python finds.
_TEMPLATE_FAILURES = (
    TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RecursionError, MemoryError,
)  # fmt: skip


class ChatTemplate:
    """The chat template of one model folder.

    Raises:
        ChatTemplateError: on construction where the folder has none, or one that is not Jinja.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        source = find_template(tokenizer)
        if source is None:
            raise ChatTemplateError(
                f"the model in {tokenizer.folder} has no chat template; give a prompt to generate() instead of messages"
            )
        try:
            self._template = _environment().from_string(source)
        except TemplateError as error:
            raise ChatTemplateError(f"the chat template of {tokenizer.folder} is damaged: {error}") from error
        names = ("bos_token", "eos_token", "unk_token", "pad_token")
        self._tokens = {name: tokenizer.special_token(name) or "" for name in names}

    def render(
        self,
        messages: Sequence[Message],
        /,
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        **template_kwargs: Any,
    ) -> str:
        """The conversation as text (special tokens included, so encode it without adding more).

        Raises:
            ChatTemplateError: a message without role or content, or one the template refuses; a name of
                `template_kwargs` that would replace the messages or the special tokens.
        """
        if not isinstance(messages, Sequence) or isinstance(messages, (str, bytes)) or not messages:
            raise ChatTemplateError(f"messages must be a list of at least one message, got {messages!r:.80}")
        checked = [_check(message, index) for index, message in enumerate(messages)]
        values: dict[str, Any] = self._tokens | {"messages": checked}
        for name in values.keys() & template_kwargs:
            raise ChatTemplateError(f"template argument {name!r} is the engine's own and cannot be given")
        try:
            return self._template.render(
                values | template_kwargs, tools=tools, add_generation_prompt=add_generation_prompt
            )
        except _TEMPLATE_FAILURES as error:
            reason = str(error) or type(error).__name__
            raise ChatTemplateError(f"the chat template refused the conversation: {reason}") from error


def _check(message: Message, index: int) -> dict[str, Any]:
    if not isinstance(message, Mapping) or "role" not in message:
        raise ChatTemplateError(f"messages[{index}] must be a mapping with a role and content, got {message!r:.80}")
    if message["role"] not in ROLES:
        raise ChatTemplateError(f"messages[{index}].role={message['role']!r:.40}: roles are {', '.join(ROLES)}")
    if message.get("content") is None and not message.get("tool_calls"):
        raise ChatTemplateError(f"messages[{index}] ({message['role']}) has no content")
    return dict(message) | {"content": _text_of(message.get("content"), index)}


def _text_of(content: Any, index: int) -> str:
    """Content is a string or, as OpenAI's clients send it, a list of text parts."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence) and all(_is_text_part(part) for part in content):
        return "".join(part["text"] for part in content)
    raise ChatTemplateError(f"messages[{index}].content must be a string or a list of text parts")


def _is_text_part(part: Any) -> bool:
    return isinstance(part, Mapping) and part.get("type") == "text" and isinstance(part.get("text"), str)


class _Generation(Extension):
    """`{% generation %}` marks the assistant's part for training tools; here its body simply renders."""

    tags = {"generation"}  # noqa: RUF012 (jinja2 declares it as a class attribute)

    def parse(self, parser: Any) -> nodes.Node | list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda pattern: datetime.now().strftime(pattern)
    return environment


def _to_json(value: Any, indent: int | None = None) -> str:
    # jinja2's own filter escapes <, > and & for HTML, which models never saw in training.
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _refuse(message: str) -> NoReturn:
    raise TemplateError(message)


def _read_template(file: Path) -> str:
    if file.stat().st_size > MAX_CONFIG_BYTES:
        raise ModelError(f"{file}: {file.stat().st_size:,} bytes, at most {MAX_CONFIG_BYTES:,} are read")
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ModelError(f"{file}: not UTF-8 text ({error})") from error


def find_template(tokenizer: Tokenizer) -> str | None:
    """Source of a folder's chat template, None where it has none."""
    if (tokenizer.folder / "chat_template.jinja").exists():
        return _read_template(model_file(tokenizer.folder, "chat_template.jinja"))
    source: Any = tokenizer.settings.get("chat_template")
    if isinstance(source, list):
        named = {entry.get("name"): entry.get("template") for entry in source if isinstance(entry, Mapping)}
        source = named.get("default")
    if source is not None and not isinstance(source, str):
        raise ModelError(f"{tokenizer.folder}/tokenizer_config.json: chat_template must be a string or a named list")
    return source
