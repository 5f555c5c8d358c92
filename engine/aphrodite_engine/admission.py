"""From what a caller gives to a checked Request: everything that can be refused is refused here, by name."""

from __future__ import annotations

import hashlib
import itertools
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from aphrodite_engine.constraints.grammar import Grammars
from aphrodite_engine.errors import ContextOverflowError, ParameterError
from aphrodite_engine.inside.hidden_states import Capture
from aphrodite_engine.inside.steering import SteeringContext
from aphrodite_engine.params import MAX_N, MAX_SEED, Pooling, SamplingParams
from aphrodite_engine.prompts import Continuation, Prompt
from aphrodite_engine.request import Request
from aphrodite_engine.sampling.words import Words
from aphrodite_engine.tokenizer import Tokenizer

Params = SamplingParams | Sequence[SamplingParams] | None

#: Texts are rarely above 5 on average.
_CHARACTERS_PER_TOKEN = 16


@dataclass
class Admission:
    """Checks requests against one model.

    Attributes:
        vocab_size: ids from 0 up to it are known.
        grammars: compiles what structured_outputs asks for, here and not in the engine's thread.
        steering: what steers requests where they are admitted.
        seed: the engine's; requests without a seed of their own get one derived from it and their number.
    """

    tokenizer: Tokenizer | None
    vocab_size: int
    max_model_len: int
    eos_token_ids: tuple[int, ...]
    seed: int | None
    grammars: Grammars
    steering: SteeringContext = field(default_factory=SteeringContext)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)
    _words: Words = field(init=False)

    def __post_init__(self) -> None:
        self._words = Words(self.tokenizer, self.vocab_size)

    def admit(
        self,
        prompt: Prompt,
        params: SamplingParams,
        *,
        add_special_tokens: bool = True,
        priority: int = 0,
        cache_salt: str = "",
        pooling: Pooling | None = None,
        capture: Capture | None = None,
        continuation: Continuation | None = None,
    ) -> Request:
        """A request ready for the engine.

        Raises:
            ParameterError: prompt or parameters that this model cannot serve.
            ContextOverflowError: no room for the prompt and one output token.
        """
        ids = self.token_ids(prompt, add_special_tokens)
        room_for = len(ids) if pooling or capture else len(ids) + 1
        if room_for > self.max_model_len:
            raise ContextOverflowError(len(ids), self.max_model_len)
        self._check_ids_of(params)
        if continuation is not None:
            self._check_continuation(continuation, len(ids), params)
        if isinstance(priority, bool) or not isinstance(priority, int):
            raise ParameterError("priority", priority, "an integer; lower runs first")
        if not isinstance(cache_salt, str):
            raise ParameterError("cache_salt", cache_salt, "a string")
        number = next(self._numbers)
        return Request(
            request_id=f"req-{number}",
            prompt_token_ids=tuple(ids),
            params=params,
            seed=self._seed(number) if params.seed is None else params.seed,
            arrival=number,
            prompt=prompt if isinstance(prompt, str) else None,
            priority=priority,
            cache_salt=cache_salt,
            pooling=pooling,
            capture=capture,
            continuation=continuation,
            steering=self.steering.current(),
            grammar=self.grammars.compiled(params.structured_outputs) if params.structured_outputs else None,
            bad_words=self._words.bad_words(params),
            breakers=self._words.breakers(params),
        )

    def token_ids(self, prompt: Prompt, add_special_tokens: bool = True) -> list[int]:
        """Ids of a prompt given as text or as ids."""
        if isinstance(prompt, str):
            self._check_beginning(prompt)
            ids = self._tokenizer_for(prompt).encode(prompt, add_special_tokens)
        else:
            ids = self.checked_ids("prompt", prompt)
        if not ids:
            raise ParameterError("prompt", prompt, "at least one token (this model adds none of its own)")
        return ids

    def _check_beginning(self, prompt: str) -> None:
        """A text that is far too long is refused by its beginning: all of 10 MB would take seconds to tokenize."""
        length = self.max_model_len * _CHARACTERS_PER_TOKEN
        if len(prompt) > length:
            ids = self._tokenizer_for(prompt).encode(prompt[:length], add_special_tokens=False)
            if len(ids) > self.max_model_len:
                raise ContextOverflowError(len(ids), self.max_model_len, of_beginning=True)

    def _tokenizer_for(self, prompt: str) -> Tokenizer:
        if self.tokenizer is None:
            raise ParameterError("prompt", prompt, "a list of token ids, since this model folder has no tokenizer")
        return self.tokenizer

    def checked_ids(self, name: str, token_ids: Any) -> list[int]:
        """The ids as a list; anything that is not an id of the vocabulary is refused."""
        if not isinstance(token_ids, Sequence) or isinstance(token_ids, (str, bytes)):
            expected = "a string or a list of token ids" if name == "prompt" else "a list of token ids"
            raise ParameterError(name, token_ids, expected)
        for place, token_id in enumerate(token_ids):
            self._check_id(f"{name}[{place}]", token_id)
        return list(token_ids)

    def _check_id(self, name: str, token_id: Any) -> None:
        good = isinstance(token_id, int) and not isinstance(token_id, bool)
        if not good or not 0 <= token_id < self.vocab_size:
            raise ParameterError(name, token_id, f"token ids are integers from 0 to {self.vocab_size - 1}")

    def _check_ids_of(self, params: SamplingParams) -> None:
        for token_id in params.logit_bias or ():
            self._check_id("logit_bias", token_id)
        for token_id in params.stop_token_ids:
            self._check_id("stop_token_ids", token_id)
        for token_id in params.allowed_token_ids or ():
            self._check_id("allowed_token_ids", token_id)
        if params.stop_strings and self.tokenizer is None:
            raise ParameterError("stop", params.stop, "stop_token_ids, since this model folder has no tokenizer")
        if params.banned_phrases and self.tokenizer is None:
            raise ParameterError(
                "banned_phrases", params.banned_phrases, "[], since this model folder has no tokenizer"
            )
        if params.min_tokens:
            self._check_something_is_left(params)

    def _check_continuation(self, begun: Continuation, prompt_len: int, params: SamplingParams) -> None:
        count = len(self.checked_ids("continuation.token_ids", begun.token_ids))
        if isinstance(begun.index, bool) or not isinstance(begun.index, int) or not 0 <= begun.index < MAX_N:
            raise ParameterError("continuation.index", begun.index, f"an integer from 0 to {MAX_N - 1}")
        if params.n != 1:
            raise ParameterError("n", params.n, "1 with a continuation, which is of one sequence")
        if params.prompt_logprobs is not None:
            allowed = "None with a continuation, which finds its prompt in the cache"
            raise ParameterError("prompt_logprobs", params.prompt_logprobs, allowed)
        if params.max_tokens is not None and count > params.max_tokens:
            raise ParameterError("continuation", f"{count} tokens", f"at most max_tokens={params.max_tokens}")
        if prompt_len + count > self.max_model_len:
            room = f"at most {self.max_model_len - prompt_len} fit max_model_len={self.max_model_len} behind the prompt"
            raise ParameterError("continuation", f"{count} tokens", room)

    def _check_something_is_left(self, params: SamplingParams) -> None:
        """Before min_tokens what ends is impossible; something else must be possible."""
        ending = {*self.eos_token_ids, *params.stop_token_ids}
        allowed = params.allowed_token_ids
        if ending.issuperset(range(self.vocab_size) if allowed is None else allowed):
            name = "stop_token_ids" if allowed is None else "allowed_token_ids"
            raise ParameterError(
                name, getattr(params, name), f"with min_tokens={params.min_tokens} some id must neither be EOS nor stop"
            )

    def _seed(self, number: int) -> int:
        if self.seed is None:
            return secrets.randbits(63)
        digest = hashlib.blake2b(f"{self.seed}:{number}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") & MAX_SEED


def checked_params(params: SamplingParams | None) -> SamplingParams:
    """Those given, or the defaults.

    Raises:
        ParameterError: it is something else.
    """
    if params is None:
        return SamplingParams()
    if not isinstance(params, SamplingParams):
        raise ParameterError("sampling_params", params, "a SamplingParams")
    return params


def params_for_each(prompts: Sequence[Prompt], params: Params) -> list[SamplingParams]:
    """As many as there are prompts: one that is given for all, or a list as it is.

    Raises:
        ParameterError: neither, or a list of another length.
    """
    if params is None or isinstance(params, SamplingParams):
        return [checked_params(params)] * len(prompts)
    if not isinstance(params, Sequence):
        raise ParameterError("sampling_params", params, "a SamplingParams, or a list of one for each prompt")
    if len(params) != len(prompts):
        raise ParameterError(
            "sampling_params", f"{len(params)} of them", f"one, or one for each of {len(prompts)} prompts"
        )
    return [checked_params(own) for own in params]
