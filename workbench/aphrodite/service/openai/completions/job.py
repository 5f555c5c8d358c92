"""One prompt of a completions request on its way to its choices."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

import msgspec
from msgspec import UNSET

from aphrodite.service.engines import boundary
from aphrodite.service.engines.boundary import Problem, Token
from aphrodite.service.engines.engine_process import EngineFailure, EngineProcess, Generation
from aphrodite.service.errors import ApiError, from_problem
from aphrodite.service.openai.completions.choices import Candidates, Choice, ChoiceWriter, prompt_logprobs
from aphrodite.service.openai.completions.request import CompletionRequest
from aphrodite.service.openai.prompts import Prompt


class Job:
    """Made of a generation that has been started.

    Attributes:
        seed: the one that is used; known once the prompt is admitted, as is `num_prompt`.
        num_prompt, num_output, num_cached: tokens.
    """

    def __init__(
        self, place: int, prompt: Prompt, request: CompletionRequest, engine: EngineProcess, generation: Generation
    ) -> None:
        self.seed = self.num_prompt = self.num_output = self.num_cached = 0
        self._place, self._prompt, self._request, self._engine = place, prompt, request, engine
        self._ids: list[int] = []
        self._echoed = self._first_token = ""
        self._writers: list[ChoiceWriter] = []
        self._generation = generation

    async def admit(self, *, alone: bool) -> None:
        """Wait until the engine has accepted the prompt, and learn what an echo needs.

        Args:
            alone: whether the request has no other prompt, so that an error need not say which.
        """
        try:
            admitted = await self._generation.admitted()
        except EngineFailure as error:
            raise self._refusal(error.problem, alone) from None
        self.seed, self.num_prompt = admitted.seed, admitted.prompt_tokens
        self._ids = admitted.prompt_token_ids or []
        if self._request.echo:
            self._echoed = self._prompt if isinstance(self._prompt, str) else await self._text(self._prompt)
        if self._request.scores_prompt:
            self._first_token = await self._text(self._ids[:1])
        first = self._place * self._request.num_sequences
        self._writers = [self._writer(first + sequence) for sequence in range(self._request.num_sequences)]

    def abort(self) -> None:
        """End it, if it still runs."""
        self._generation.abort()

    async def pieces(self) -> AsyncGenerator[list[Choice]]:
        """Pieces of the choices, all that there are at a time.

        Raises:
            ApiError: it ended with an error.
        """
        held: list[Token] = []
        begun = False
        while tokens := await self._news():
            held += tokens
            if not begun:
                prompt = next((t.prompt_logprobs for t in held if t.prompt_logprobs is not None), None)
                if prompt is None and (self._request.scores_prompt or self._request.prompt_logprobs is not None):
                    continue  # they come with the first sequence; another one was faster
                begun = True
                yield [self._beginning(writer, prompt) for writer in self._writers]
            yield [self._piece(token) for token in held]
            held = []

    def best(self, choices: Sequence[Choice]) -> list[Choice]:
        """The choices to give, of all that were drawn."""
        if self._request.num_sequences == self._request.num_choices:
            return list(choices)
        means = {writer.index: writer.mean_logprob for writer in self._writers}
        ranked = sorted(choices, key=lambda choice: -means[choice.index])[: self._request.num_choices]
        for place, choice in enumerate(ranked, start=self._place * self._request.num_choices):
            choice.index = place
        return ranked

    def _writer(self, index: int) -> ChoiceWriter:
        asked = self._request
        with_ids, with_traces = bool(asked.return_token_ids), asked.trace is not None
        return ChoiceWriter(index, self.seed, asked.logprobs, with_ids=with_ids, with_traces=with_traces)

    def _beginning(self, writer: ChoiceWriter, prompt: list[Candidates | None] | None) -> Choice:
        choice = writer.begin(self._echoed, self._first_token, prompt if self._request.scores_prompt else None)
        if self._request.return_token_ids:
            choice.prompt_token_ids = self._ids
        if self._request.prompt_logprobs is not None and prompt is not None:
            choice.prompt_logprobs = prompt_logprobs(prompt, self._request.prompt_logprobs)
        return choice

    def _piece(self, token: Token) -> Choice:
        if token.finish_reason == "abort":
            raise ApiError(503, "the request was aborted", code="aborted")
        if token.index == 0:
            self.num_cached = max(self.num_cached, token.cached)
        writer = self._writers[token.index]
        if self._request.draws:
            self.num_output += len(token.token_ids)
            return writer.add(token)
        finish = "length" if token.finish_reason else None
        return Choice(index=writer.index, text="", seed=self.seed, finish_reason=finish, token_ids=UNSET)

    async def _news(self) -> list[Token]:
        try:
            return await self._generation.news()
        except EngineFailure as error:
            raise from_problem(error.problem) from None

    async def _text(self, token_ids: list[int]) -> str:
        return (await self._engine.call(boundary.Detokenize(0, token_ids))).text

    def _refusal(self, problem: Problem, alone: bool) -> ApiError:
        """The engine speaks of one prompt and does not know which it was."""
        if problem.field == "prompt" or problem.kind == "context":
            problem = msgspec.structs.replace(problem, field="prompt")
        if not alone:
            problem = msgspec.structs.replace(problem, message=f"prompt {self._place}: {problem.message}")
        return from_problem(problem)
