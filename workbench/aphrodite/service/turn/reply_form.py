"""What a reply may consist of (a thought, text, calls) and what the engine is told so that it does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aphrodite.service.engines.boundary import Facts
from aphrodite.service.errors import bad_request
from aphrodite.service.turn.call_forms import KNOWN_FORMS, PLAIN, CallForm, form_of
from aphrodite.service.turn.call_grammar import CallGrammar
from aphrodite.service.turn.deltas import Delta, TextDelta
from aphrodite.service.turn.reasoning import CLOSING, OPENING, Reasoning, Thought
from aphrodite.service.turn.tool_calls import ToolCalls
from aphrodite.service.turn.tools import Tool, ToolChoice

#: Calls left in the text would look like an answer to a client that waits for tool_calls: so it is refused.
_UNKNOWN_FORM = (
    "tool_choice='auto' (the default) needs a model whose chat template teaches a form of calls that can be read "
    f"({', '.join(KNOWN_FORMS)}), and this model's teaches none of them. What works with it: tool_choice='required' or "
    "a function's name, where a grammar writes the call, and tool_choice='none'"
)


@dataclass(frozen=True)
class ReplyForm:
    """Of one turn.

    Attributes:
        calls: how tool calls are written; None where there are none to look for.
        names: of the functions that may be called.
        structured_outputs: for the engine.
        blamed: the field of the request that made it.
    """

    thought: Thought = Thought.NONE
    calls: CallForm | None = None
    names: frozenset[str] = frozenset()
    structured_outputs: Mapping[str, Any] | None = None
    blamed: str = "structured_outputs"

    @property
    def is_plain(self) -> bool:
        """All of it is text, so that it does not matter where a token ends."""
        return self.thought is Thought.NONE and self.calls is None

    def for_engine(self, facts: Facts) -> dict[str, Any]:
        """Fields of SamplingParams."""
        fields: dict[str, Any] = {}
        markers = {self.calls.marker} if self.calls else set()
        markers |= {OPENING, CLOSING} if self.thought is not Thought.NONE else set()
        if not facts.special_ids.isdisjoint(facts.added_tokens.get(marker, -1) for marker in markers):
            fields["skip_special_tokens"] = False  # or they would be gone from the text
        if self.structured_outputs is not None:
            after = [OPENING if self.thought is Thought.POSSIBLE else "", CLOSING]
            thought = {} if self.thought is Thought.NONE else {"after": after}
            fields["structured_outputs"] = {**thought, **self.structured_outputs}
        return fields


def reply_form(
    facts: Facts,
    tools: Sequence[Tool],
    choice: ToolChoice,
    *,
    parallel: bool,
    asked: Mapping[str, Any] | None,
    blamed: str,
    thought: Thought,
) -> ReplyForm:
    """The form of a reply.

    Args:
        tools: those that may be called (tools.offered).
        asked: structured outputs, which `blamed` asks for.

    Raises:
        ApiError: 400 where what is asked for does not go together with this model.
    """
    if not tools:
        return ReplyForm(thought, structured_outputs=asked, blamed=blamed)
    form = form_of(facts.template_source) or (PLAIN if choice.is_forced else None)
    if form is None:
        raise bad_request(_UNKNOWN_FORM, "tools", "unsupported_by_model")
    grammar = CallGrammar(form, tools, facts.added_tokens, one_only=not parallel)
    names = frozenset(tool.name for tool in tools)
    if choice.is_forced:
        return ReplyForm(thought, form, names, {"grammar": grammar.forced()}, "tools")
    if asked is not None:
        return ReplyForm(thought, form, names, {"grammar": grammar.or_json(_schema(asked, blamed))}, blamed)
    if not parallel or any(tool.strict for tool in tools):
        return ReplyForm(thought, form, names, {"grammar": grammar.free()}, "tools")
    return ReplyForm(thought, form, names)


def _schema(asked: Mapping[str, Any], blamed: str) -> Mapping[str, Any]:
    if "json_object" in asked:
        return {"type": "object"}
    schema = asked.get("json")
    if not isinstance(schema, Mapping):
        message = f"{blamed}: beside tools that may be called, only a JSON schema (an object) can be asked for"
        raise bad_request(message, blamed, "invalid_value")
    return schema


class ReplyReader:
    """Reads one sequence's text."""

    def __init__(self, form: ReplyForm) -> None:
        self._reasoning = Reasoning(form.thought) if form.thought is not Thought.NONE else None
        self._calls = ToolCalls(form.calls, form.names) if form.calls else None

    @property
    def is_thinking(self) -> bool:
        """The next token belongs to a thought."""
        return self._reasoning is not None and self._reasoning.is_thinking

    @property
    def has_called(self) -> bool:
        """It called, and no call is incomplete."""
        return self._calls is not None and self._calls.count > 0 and not self._calls.is_in_call

    def add(self, text: str, *, is_last: bool) -> tuple[Delta, ...]:
        """What new text means."""
        if self._reasoning is None and self._calls is None:
            return (TextDelta(text),) if text else ()
        deltas: list[Delta] = []
        if self._reasoning is None:
            deltas += [TextDelta(text)] if text else []
        else:
            deltas += self._reasoning.add(text)
            deltas += self._reasoning.finish() if is_last else []
        if self._calls is None:
            return tuple(deltas)
        found = [part for delta in deltas for part in self._looked_through(self._calls, delta)]
        return (*found, *(self._calls.finish() if is_last else ()))

    @staticmethod
    def _looked_through(calls: ToolCalls, delta: Delta) -> list[Delta]:
        return calls.add(delta.text) if isinstance(delta, TextDelta) else [delta]
