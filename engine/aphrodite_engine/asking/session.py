"""The questions as methods, for whatever generates and tokenizes: LLM, sessions and clients."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, overload

import numpy as np

from aphrodite_engine.asking.branch import branch
from aphrodite_engine.asking.next_token import NextToken, next_token
from aphrodite_engine.asking.perplexity import Perplexity, perplexity
from aphrodite_engine.asking.question import Call, Question, T, aanswer, answer
from aphrodite_engine.asking.replay import Replayed, replay
from aphrodite_engine.asking.score import Scores, score
from aphrodite_engine.errors import ParameterError
from aphrodite_engine.inside.steering import Steering
from aphrodite_engine.outputs import GenerationResult
from aphrodite_engine.params import Pooling, SamplingParams
from aphrodite_engine.prompts import Message, Prompt, as_prompts
from aphrodite_engine.recipe import Recipe

Asked = Prompt | Sequence[Message]


class Asks:
    """For sessions that wait, with twins for coroutines.

    Needs of the class: tokenize, detokenize, render_chat, generate, agenerate, embed, aembed, max_model_len.
    """

    def next_token(self, prompt: Asked, params: SamplingParams | None = None, top: int = 20) -> NextToken:
        """What may follow a prompt, before sampling and behind each of its stages, without going on with it.

        Args:
            prompt: text, token ids or messages.
            params: how a token would be drawn. Steps that toss a coin toss it with their seed, 0 where they have none,
                so that the same question has the same answer.
            top: how many of the most likely tokens are told behind each stage (1 to 20).

        Raises:
            ParameterError, ContextOverflowError: as for generate().
        """
        return self._answer(next_token(prompt, params, top))

    @overload
    def score(
        self, query: Prompt, texts: Prompt | Sequence[Prompt], *, pooling: Pooling | None = None
    ) -> list[float]: ...
    @overload
    def score(self, query: Asked, *, continuations: Sequence[Prompt]) -> Scores: ...
    def score(
        self,
        query: Asked,
        texts: Prompt | Sequence[Prompt] | None = None,
        *,
        continuations: Sequence[Prompt] | None = None,
        pooling: Pooling | None = None,
    ) -> list[float] | Scores:
        """How like each of `texts` the query is, or how likely each of `continuations` is behind it.

        With `texts`: the cosine similarity of the vectors, from -1 to 1.

        With `continuations`: log-probabilities, token by token, by the model's own distribution. Prompt and
        continuation are tokenized as one text and divided where the prompt's own tokens end. Where the tokenizer makes
        other tokens of the prompt's end with the continuation behind it ("up" + "on" may be " upon"), the scored tokens
        begin at the first that differs, and `merged` counts the prompt's tokens that went into them. A continuation
        given as ids is put behind the prompt's ids as it is.

        Raises:
            ParameterError: both or neither of the two; a continuation that adds no token.
            ContextOverflowError: the prompt with a continuation and one output token does not fit.
        """
        if (wanted := _continuations(texts, continuations, pooling)) is not None:
            return self._answer(score(query, wanted))
        return _cosines(self.embed(_query_first(query, texts), pooling=pooling))  # type: ignore[attr-defined]

    def perplexity(self, text: Prompt, window: int | None = None, stride: int | None = None) -> Perplexity:
        """How surprised the model is by a text that may be longer than its context.

        The text is read through a window that moves on. Each token but the first is scored once, with at least
        window - stride tokens before it (all there are, in the first window).

        Args:
            text: or token ids.
            window: tokens seen at once, at most; None is all that the model takes.
            stride: tokens from one window to the next, below `window`: smaller costs more and knows more. None is half
                the window.

        Raises:
            ParameterError: a text of less than two tokens; a window or a stride that is impossible.
        """
        return self._answer(perplexity(text, window, stride))

    def branch(
        self,
        result: GenerationResult,
        at: int,
        token: int | str | None = None,
        seed: int | None = None,
        index: int = 0,
        **fields: Any,
    ) -> GenerationResult:
        """Go on from somewhere in a result: with another token there, another draw, or other sampling fields.

        With nothing changed the rest is the result's own, bit for bit. The tokens before `at` are found in the cache;
        the new result begins with them (`outputs[0].given`).

        Args:
            result: of this model, whoever has made it.
            at: how many tokens of the output stay: 0 keeps none, its length all.
            token: comes next, by its id or its text.
            seed: of the draws from there on; None is the result's.
            index: which of the result's outputs.
            **fields: of SamplingParams that shall be others than the result's.

        Raises:
            ParameterError: a position that the output does not have, a text that is not exactly one token, a field out
                of range.
            OriginError: the result does not say what it was made from.
        """
        with self._steered_by(result.known_origin.steering):
            return self._answer(branch(result, at, token, seed, index, fields))

    def replay(self, recipe: Recipe) -> Replayed:
        """Make a result again: whether its tokens are the same, from which on they are not, what of the build differs.

        Raises:
            ParameterError: what the recipe asks for is impossible with this model.
        """
        with self._steered_by(recipe.steering):
            return self._answer(replay(recipe))

    async def anext_token(self, prompt: Asked, params: SamplingParams | None = None, top: int = 20) -> NextToken:
        """next_token() that leaves the event loop free."""
        return await self._aanswer(next_token(prompt, params, top))

    @overload
    async def ascore(
        self, query: Prompt, texts: Prompt | Sequence[Prompt], *, pooling: Pooling | None = None
    ) -> list[float]: ...
    @overload
    async def ascore(self, query: Asked, *, continuations: Sequence[Prompt]) -> Scores: ...
    async def ascore(
        self,
        query: Asked,
        texts: Prompt | Sequence[Prompt] | None = None,
        *,
        continuations: Sequence[Prompt] | None = None,
        pooling: Pooling | None = None,
    ) -> list[float] | Scores:
        """score() that leaves the event loop free."""
        if (wanted := _continuations(texts, continuations, pooling)) is not None:
            return await self._aanswer(score(query, wanted))
        return _cosines(await self.aembed(_query_first(query, texts), pooling=pooling))  # type: ignore[attr-defined]

    async def aperplexity(self, text: Prompt, window: int | None = None, stride: int | None = None) -> Perplexity:
        """perplexity() that leaves the event loop free."""
        return await self._aanswer(perplexity(text, window, stride))

    async def abranch(
        self,
        result: GenerationResult,
        at: int,
        token: int | str | None = None,
        seed: int | None = None,
        index: int = 0,
        **fields: Any,
    ) -> GenerationResult:
        """branch() that leaves the event loop free."""
        with self._steered_by(result.known_origin.steering):
            return await self._aanswer(branch(result, at, token, seed, index, fields))

    async def areplay(self, recipe: Recipe) -> Replayed:
        """replay() that leaves the event loop free."""
        with self._steered_by(recipe.steering):
            return await self._aanswer(replay(recipe))

    def _steered_by(self, steering: Steering) -> AbstractContextManager[None]:
        """Within, requests are steered so and not otherwise."""
        raise NotImplementedError

    def _answer(self, question: Question[T]) -> T:
        return answer(question, self._call)

    async def _aanswer(self, question: Question[T]) -> T:
        return await aanswer(question, self._acall)

    def _call(self, call: Call) -> Any:
        if call.name == "context":
            return self.max_model_len  # type: ignore[attr-defined]
        return getattr(self, call.name)(*call.arguments, **call.options)

    async def _acall(self, call: Call) -> Any:
        if call.name == "generate":
            return await self.agenerate(*call.arguments, **call.options)  # type: ignore[attr-defined]
        return await asyncio.to_thread(self._call, call)


class AsyncAsks:
    """For sessions whose own methods are coroutines; what each means is told at Asks.

    Needs of the class: tokenize, detokenize, render_chat, generate, embed, context, each with `model`.
    """

    async def next_token(
        self, prompt: Asked, params: SamplingParams | None = None, top: int = 20, *, model: str | None = None
    ) -> NextToken:
        """What may follow a prompt, before sampling and behind each of its stages, without going on with it."""
        return await self._answer(next_token(prompt, params, top), model)

    @overload
    async def score(
        self,
        query: Prompt,
        texts: Prompt | Sequence[Prompt],
        *,
        pooling: Pooling | None = None,
        model: str | None = None,
    ) -> list[float]: ...
    @overload
    async def score(self, query: Asked, *, continuations: Sequence[Prompt], model: str | None = None) -> Scores: ...
    async def score(
        self,
        query: Asked,
        texts: Prompt | Sequence[Prompt] | None = None,
        *,
        continuations: Sequence[Prompt] | None = None,
        pooling: Pooling | None = None,
        model: str | None = None,
    ) -> list[float] | Scores:
        """The query's cosine similarity to `texts`, or how likely `continuations` are behind it, in nats."""
        if (wanted := _continuations(texts, continuations, pooling)) is not None:
            return await self._answer(score(query, wanted), model)
        vectors = await self.embed(_query_first(query, texts), pooling=pooling, model=model)  # type: ignore[attr-defined]
        return _cosines(vectors)

    async def perplexity(
        self, text: Prompt, window: int | None = None, stride: int | None = None, *, model: str | None = None
    ) -> Perplexity:
        """How surprised the model is by a text that may be longer than its context."""
        return await self._answer(perplexity(text, window, stride), model)

    async def abranch(
        self,
        result: GenerationResult,
        at: int,
        token: int | str | None = None,
        seed: int | None = None,
        index: int = 0,
        *,
        model: str | None = None,
        **fields: Any,
    ) -> GenerationResult:
        """Go on from somewhere in a result: with another token there, another draw, or other sampling fields."""
        asked = branch(result, at, token, seed, index, fields)
        return await self._answer(asked, model or result.known_origin.model)

    async def areplay(self, recipe: Recipe, *, model: str | None = None) -> Replayed:
        """Make a result again and say what is different.

        Args:
            model: None is the recipe's where that is served, else the one that is.

        Raises:
            ParameterError: it is steered, which does not cross HTTP.
        """
        if isinstance(recipe, Recipe) and recipe.steering.steers:
            raise ParameterError("steering", recipe.steering, "none over HTTP; replay it with a model in this process")
        return await self._answer(replay(recipe), model or await self._served(recipe))

    async def _served(self, recipe: Recipe) -> str | None:
        names = [found.id for found in await self.models()]  # type: ignore[attr-defined]
        return recipe.model if recipe.model in names else None

    async def _answer(self, question: Question[T], model: str | None) -> T:
        async def call(asked: Call) -> Any:
            return await getattr(self, asked.name)(*asked.arguments, **asked.options, model=model)

        return await aanswer(question, call)


def _continuations(texts: object, continuations: Any, pooling: object) -> Any:
    """The continuations, None where `texts` are to be compared.

    Raises:
        ParameterError: both or neither; pooling, which is for vectors.
    """
    if (texts is None) == (continuations is None):
        value = None if texts is None else "both"
        raise ParameterError("continuations", value, "continuations=[...] (how likely), or else texts (how alike)")
    if continuations is not None and pooling is not None:
        raise ParameterError("pooling", pooling, "only with texts: continuations have no vectors")
    return continuations


def _query_first(query: Any, texts: Any) -> list[Prompt]:
    return [query, *as_prompts(texts)]


def _cosines(vectors: np.ndarray) -> list[float]:
    return [float(value) for value in vectors[1:] @ vectors[0]]
