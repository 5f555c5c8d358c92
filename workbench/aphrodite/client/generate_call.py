"""One request to `/generate`: its body as JSON has it, and what its result shall say it was made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aphrodite.fields import Params
from aphrodite.generated import Made
from aphrodite_engine.errors import ParameterError
from aphrodite_engine.maker import Maker
from aphrodite_engine.outputs import Origin
from aphrodite_engine.params import SamplingParams
from aphrodite_engine.params_json import params_to_json
from aphrodite_engine.prompts import Continuation, Message, Prompt

_DEFAULTS = SamplingParams()


@dataclass(frozen=True)
class GenerateCall:
    """A prompt to complete, or messages to answer.

    Attributes:
        template: arguments of the chat template.
    """

    params: SamplingParams
    model: str | None
    priority: int
    cache_salt: str
    continuation: Continuation | None = None
    maker: Maker = field(default_factory=Maker)
    prompt: Prompt | None = None
    messages: Sequence[Message] | None = None
    template: Mapping[str, Any] | None = None

    @property
    def body(self) -> dict[str, Any]:
        body = params_to_json(self.params) | {
            "max_tokens": self.params.max_tokens,  # its absence would be "no limit"
            "model": self.model,
            "priority": self.priority,
            "cache_salt": self.cache_salt,
        }
        if self.continuation is not None:
            body["continuation"] = {"token_ids": list(self.continuation.token_ids), "index": self.continuation.index}
        if self.messages is not None:
            return body | {"messages": self.messages, "template": self.template}
        return body | {"prompt": _listed(self.prompt)}

    def origin(self, made: Made) -> Origin:
        """Of the result; a text is told as it was given, whatever JSON made of it."""
        text = self.prompt if isinstance(self.prompt, str) else made.prompt
        ids = tuple(made.prompt_token_ids)
        return Origin(
            made.model, made.build, self.params, text, ids, self.continuation, self.cache_salt, maker=self.maker
        )


def one_each(params: Params, count: int) -> Sequence[SamplingParams]:
    """Of every prompt its own.

    Raises:
        ParameterError: neither one nor as many as there are prompts.
    """
    if params is None or isinstance(params, SamplingParams):
        return [params or _DEFAULTS] * count
    if not isinstance(params, Sequence) or isinstance(params, (str, bytes)):
        raise ParameterError("sampling_params", params, "a SamplingParams, or a list of one for each prompt")
    if len(params) != count:
        raise ParameterError("sampling_params", f"{len(params)} of them", f"one, or one for each of {count} prompts")
    for one in params:
        if not isinstance(one, SamplingParams):
            raise ParameterError("sampling_params", one, "a SamplingParams")
    return params


def _listed(prompt: Any) -> Any:
    """Any sequence of ids as JSON has it."""
    return list(prompt) if isinstance(prompt, Sequence) and not isinstance(prompt, str) else prompt
