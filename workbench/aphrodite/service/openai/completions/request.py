"""What `/v1/completions` is asked, checked."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from aphrodite.service.openai.prompts import Prompt, Prompts, listed, refuse_unsupported, refused
from aphrodite.service.openai.sampling import SamplingFields, checked, given_fields, told
from aphrodite.service.openai.shapes import StreamOptions

MAX_PROMPTS = 1024
MAX_SEQUENCES = 2048
#: OpenAI's; chat's default is the context's end.
DEFAULT_MAX_TOKENS = 16


class CompletionRequest(SamplingFields, kw_only=True):
    """OpenAI's fields, and the engine's sampling fields beside them.

    Attributes:
        prompt: a text, several texts, token ids, or several lists of ids.
        max_tokens: most output tokens; null is 16.
        best_of: draw so many and give the n whose tokens are the most likely on average.
        echo: give the prompt back in front; with max_tokens=0 nothing is drawn, and logprobs scores the prompt.
        logprobs: of each token, and of so many most likely ones.
        return_token_ids: the prompt's and the answer's.
        suffix: refused, like the three after it.
    """

    model: str
    prompt: Prompts
    max_tokens: Annotated[int, told(minimum=0, maximum=2**31 - 1)] | None = None
    best_of: Annotated[int, Meta(ge=1, le=256)] | None = None
    echo: bool | None = None
    logprobs: Annotated[int, Meta(ge=0, le=5)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    return_token_ids: bool | None = None
    user: str | None = None
    suffix: str | None = None
    prompt_embeds: Any = None
    use_beam_search: bool | None = None
    truncate_prompt_tokens: int | None = None

    @property
    def num_choices(self) -> int:
        """Of each prompt."""
        return self.n if self.n is not None else 1

    @property
    def num_sequences(self) -> int:
        """Drawn for each prompt."""
        return self.num_choices if self.best_of is None else self.best_of

    @property
    def draws(self) -> bool:
        """False where the prompt alone is asked about."""
        return self.max_tokens != 0

    @property
    def scores_prompt(self) -> bool:
        """Whether the echoed prompt carries log-probabilities."""
        return bool(self.echo) and self.logprobs is not None

    def prompts(self) -> list[Prompt]:
        """One or many: a list of ids is one.

        Raises:
            ApiError: 400.
        """
        given = listed("prompt", self.prompt, MAX_PROMPTS)
        if len(given) * self.num_sequences > MAX_SEQUENCES:
            wanted = f"{len(given):,} prompts with {self.num_sequences} sequences each"
            raise refused("prompt", f"{wanted}; at most {MAX_SEQUENCES:,} sequences fit one request")
        return given

    def params(self) -> dict[str, Any]:
        """Fields of SamplingParams.

        Raises:
            ApiError: 400.
        """
        self._refuse_contradictions()
        params = given_fields(self)
        params["n"] = self.num_sequences
        # best_of ranks by the drawn tokens' own.
        params["logprobs"] = 0 if self.logprobs is None and self.num_sequences > self.num_choices else self.logprobs
        if self.scores_prompt:
            params["prompt_logprobs"] = max(self.logprobs or 0, self.prompt_logprobs or 0)
        if self.max_tokens is None:
            params["max_tokens"] = DEFAULT_MAX_TOKENS
        elif not self.draws:
            params["max_tokens"] = 1  # the engine draws one at least; it is left out of the answer
        return checked(params)

    def _refuse_contradictions(self) -> None:
        refuse_unsupported(self, "suffix", "prompt_embeds", "use_beam_search", "truncate_prompt_tokens")
        if self.num_sequences < self.num_choices:
            raise refused("best_of", f"{self.best_of}; at least n={self.n}")
        if self.stream and self.num_sequences > self.num_choices:
            raise refused("best_of", "it cannot be streamed: which is the best is known at the end only")
        if not self.draws and not self.echo:
            raise refused("max_tokens", "0; at least 1, or 0 with echo=true")
        if not self.draws and self.trace is not None:
            raise refused("trace", f"{self.trace}; max_tokens=0 draws no token, so that there is nothing to trace")
        if self.stream_options is not None and not self.stream:
            raise refused("stream_options", "it needs stream=true")
