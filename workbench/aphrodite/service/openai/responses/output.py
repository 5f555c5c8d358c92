"""What a model says, piece by piece, as the items of a response and the events that tell of them."""

from __future__ import annotations

from typing import Any

from aphrodite.service.engines.boundary import TokenLogprob
from aphrodite.service.http.replies import named_event
from aphrodite.service.openai.responses.items import new_id
from aphrodite.service.openai.responses.shapes import (
    FunctionCallItem,
    MessageItem,
    OutputItem,
    OutputText,
    ReasoningItem,
    ReasoningText,
)
from aphrodite.service.openai.shapes import ContentLogprob, content_logprob
from aphrodite.service.turn.conversation import (
    Delta,
    News,
    ReasoningDelta,
    TextDelta,
    ToolArgumentsDelta,
    ToolCallStarted,
)


class Output:
    """The items so far, of which the last one may still grow. Every method returns the events of what it changed.

    Attributes:
        items: goes into the response as it is.
    """

    def __init__(self, top_logprobs: int) -> None:
        self.items: list[OutputItem] = []
        self._top_logprobs = top_logprobs
        self._is_open = False
        self._logprobs: list[list[TokenLogprob]] = []  # of tokens whose text has not come yet
        self._number = 0

    def event(self, kind: str, **fields: Any) -> bytes:
        """An event, with the next number."""
        event = named_event(kind, {"type": kind, "sequence_number": self._number, **fields})
        self._number += 1
        return event

    def add(self, news: News) -> list[bytes]:
        """More of the answer."""
        self._logprobs += news.logprobs or ()
        return [event for delta in news.deltas for event in self._add(delta)]

    def close(self, status: str) -> list[bytes]:
        """The answer is at its end; one that said nothing is an empty message."""
        events = [] if self.items else self._open(MessageItem(new_id("msg_"), content=[OutputText()]))
        return events + self._close(status)

    def _add(self, delta: Delta) -> list[bytes]:
        match delta:
            case TextDelta(text):
                return self._text(text)
            case ReasoningDelta(text):
                return self._reasoning(text)
            case ToolCallStarted(_, call_id, name):
                self._logprobs.clear()
                return self._close() + self._open(FunctionCallItem(new_id("fc_"), call_id, name))
            case ToolArgumentsDelta(_, arguments):
                return self._arguments(arguments)

    def _text(self, text: str) -> list[bytes]:
        events, item = [], self._last
        if not isinstance(item, MessageItem):
            item = MessageItem(new_id("msg_"), content=[OutputText()])
            events = self._close() + self._open(item)
        logprobs = self._taken_logprobs()
        item.content[0].text += text
        item.content[0].logprobs += logprobs
        return [*events, self._part_event("response.output_text.delta", item, delta=text, logprobs=logprobs)]

    def _reasoning(self, text: str) -> list[bytes]:
        events, item = [], self._last
        self._logprobs.clear()
        if not isinstance(item, ReasoningItem):
            item = ReasoningItem(new_id("rs_"), content=[ReasoningText()])
            events = self._close() + self._open(item)
        item.content[0].text += text
        return [*events, self._part_event("response.reasoning_text.delta", item, delta=text)]

    def _arguments(self, arguments: str) -> list[bytes]:
        item = self._last
        assert isinstance(item, FunctionCallItem), "arguments follow the start of their call"
        item.arguments += arguments
        self._logprobs.clear()
        return [self._item_event("response.function_call_arguments.delta", item, delta=arguments)]

    def _taken_logprobs(self) -> list[ContentLogprob]:
        taken, self._logprobs = self._logprobs, []
        return [content_logprob(position, self._top_logprobs) for position in taken]

    # ---- beginning and end of an item

    @property
    def _last(self) -> OutputItem | None:
        return self.items[-1] if self._is_open else None

    def _open(self, item: OutputItem) -> list[bytes]:
        self.items.append(item)
        self._is_open = True
        if isinstance(item, FunctionCallItem):
            return [self._added(item)]
        content, item.content = item.content, []  # its part is told apart from it
        added = self._added(item)
        item.content = content  # type: ignore[assignment]
        return [added, self._part_event("response.content_part.added", item, part=content[0])]

    def _added(self, item: OutputItem) -> bytes:
        return self.event("response.output_item.added", output_index=len(self.items) - 1, item=item)

    def _close(self, status: str = "completed") -> list[bytes]:
        item = self._last
        if item is None:
            return []
        self._is_open = False
        item.status = status
        return [
            *self._part_done(item), self.event("response.output_item.done", output_index=len(self.items) - 1, item=item)
        ]  # fmt: skip

    def _part_done(self, item: OutputItem) -> list[bytes]:
        if isinstance(item, FunctionCallItem):
            name, arguments = item.name, item.arguments
            return [self._item_event("response.function_call_arguments.done", item, name=name, arguments=arguments)]
        part = item.content[0]
        if isinstance(part, OutputText):
            part.logprobs += self._taken_logprobs()
            done = self._part_event("response.output_text.done", item, text=part.text, logprobs=part.logprobs)
        else:
            done = self._part_event("response.reasoning_text.done", item, text=part.text)
        return [done, self._part_event("response.content_part.done", item, part=part)]

    def _item_event(self, kind: str, item: OutputItem, **fields: Any) -> bytes:
        return self.event(kind, item_id=item.id, output_index=len(self.items) - 1, **fields)

    def _part_event(self, kind: str, item: OutputItem, **fields: Any) -> bytes:
        return self._item_event(kind, item, content_index=0, **fields)
