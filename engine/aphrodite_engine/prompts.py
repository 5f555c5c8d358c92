"""The forms in which a caller may give prompts and conversations: one or many."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aphrodite_engine.errors import ChatTemplateError, ParameterError

#: Text, or token ids.
Prompt = str | Sequence[int]

#: role, content, and what else a chat template reads.
Message = Mapping[str, Any]


@dataclass(frozen=True)
class Continuation:
    """Output tokens that are already there: a sequence goes on behind them as if they had been drawn.

    With the same seed and parameters the rest of a run follows its beginning, bit for bit. One thing no token tells:
    what mirostat or adaptive_p learned where banned_phrases had tokens drawn anew.

    They stand, whatever phrase is banned; and where one of them ends the text, those behind it are left out.

    Attributes:
        token_ids: the output so far; may be empty.
        index: of the sequence they are from, which keys its draws: the rest of the third of n sequences has index 2.
    """

    token_ids: tuple[int, ...] = ()
    index: int = 0


#: One for all prompts, or one (or none) for each of them.
Continuations = Continuation | Sequence[Continuation | None] | None


def continuation_for_each(count: int, continuation: Continuations) -> list[Continuation | None]:
    """As many as there are prompts.

    Raises:
        ParameterError: something else, or a list of another length.
    """
    if continuation is None or isinstance(continuation, Continuation):
        return [continuation] * count
    if not isinstance(continuation, Sequence) or not all(
        isinstance(each, Continuation | None) for each in continuation
    ):
        raise ParameterError("continuation", continuation, "a Continuation, or a list of one or None for each prompt")
    if len(continuation) != count:
        raise ParameterError("continuation", f"{len(continuation)} of them", f"one, or one for each of {count} prompts")
    return list(continuation)


def as_prompts(prompts: Any) -> list[Prompt]:
    """One prompt or many: a list of ids is one prompt."""
    if isinstance(prompts, str):
        return [prompts]
    if not isinstance(prompts, Iterable) or isinstance(prompts, (bytes, Mapping)):
        raise ParameterError("prompts", prompts, "a string, a list of token ids, or a list of those")
    listed = list(prompts)
    if not listed:
        raise ParameterError("prompts", prompts, "at least one prompt")
    return [listed] if not isinstance(listed[0], (str, Sequence)) else listed


def is_single(prompts: Any) -> bool:
    """Whether as_prompts makes one prompt of what it accepted: text, ids or messages."""
    return isinstance(prompts, str) or (isinstance(prompts, Sequence) and not isinstance(prompts[0], (str, Sequence)))


def is_conversation(value: Any) -> bool:
    """A list of messages, as opposed to text or ids."""
    return isinstance(value, Sequence) and bool(value) and isinstance(value[0], Mapping)


def as_conversations(messages: Any) -> list[Sequence[Message]]:
    """One conversation or many: a list of messages is one."""
    if is_conversation(messages) or (isinstance(messages, Sequence) and not messages):
        return [messages]
    if not isinstance(messages, Sequence) or isinstance(messages, (str, bytes)):
        raise ChatTemplateError(f"messages must be a list of messages, or a list of such lists, got {messages!r:.80}")
    return list(messages)
