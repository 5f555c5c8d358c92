"""A question that takes several calls of a session, written once for sessions that wait and for those that await.

It is a generator that yields the calls and is sent what they return; `answer` and `aanswer` drive it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from aphrodite_engine.errors import ParameterError
from aphrodite_engine.outputs import GenerationResult
from aphrodite_engine.params import SamplingParams
from aphrodite_engine.prompts import Message, Prompt, is_conversation

T = TypeVar("T")


@dataclass(frozen=True)
class Call:
    """One call of a session's method `name`; "context" is the longest sequence the model takes, in tokens."""

    name: Literal["tokenize", "detokenize", "render_chat", "generate", "context"]
    arguments: tuple[Any, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)


Question = Generator[Call, Any, T]


def answer(question: Question[T], call: Callable[[Call], Any]) -> T:
    """Drive a question with a session that waits."""
    reply = None
    while True:
        try:
            reply = call(question.send(reply))
        except StopIteration as end:
            return end.value


async def aanswer(question: Question[T], call: Callable[[Call], Awaitable[Any]]) -> T:
    """Drive a question with a session that awaits."""
    reply = None
    while True:
        try:
            asked = question.send(reply)
        except StopIteration as end:
            return end.value
        reply = await call(asked)


def tokenized(text: str, add_special_tokens: bool = True) -> Question[list[int]]:
    return (yield Call("tokenize", (text,), {"add_special_tokens": add_special_tokens}))


def detokenized(token_ids: Sequence[int]) -> Question[str]:
    return (yield Call("detokenize", (list(token_ids),)))


def generated(prompts: Sequence[Prompt], params: SamplingParams) -> Question[list[GenerationResult]]:
    return (yield Call("generate", (list(prompts), params)))


def context() -> Question[int]:
    return (yield Call("context"))


@dataclass(frozen=True)
class Reading:
    """A prompt as the model reads it.

    Attributes:
        text: None where ids were given.
        add_special_tokens: whether the tokenizer puts its own before the text; a chat template has written them.
    """

    token_ids: list[int]
    text: str | None = None
    add_special_tokens: bool = True


def reading(prompt: Prompt | Sequence[Message], name: str = "prompt") -> Question[Reading]:
    """Of a text, of ids as they are, or of a conversation as its template writes it.

    Raises:
        ParameterError: none of the three.
    """
    if isinstance(prompt, str):
        return Reading((yield from tokenized(prompt)), prompt)
    if is_conversation(prompt):
        text = yield Call("render_chat", (prompt,))
        return Reading((yield from tokenized(text, add_special_tokens=False)), text, add_special_tokens=False)
    if not isinstance(prompt, Sequence) or isinstance(prompt, bytes):
        raise ParameterError(name, prompt, "a string, a list of token ids, or a list of messages")
    return Reading(list(prompt))  # type: ignore[arg-type]
