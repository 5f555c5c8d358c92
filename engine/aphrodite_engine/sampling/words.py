"""Texts that sampling fields name, as token ids: bad words, and what breaks a repetition."""

from __future__ import annotations

import threading
from collections import OrderedDict

import numpy as np

from aphrodite_engine.errors import ParameterError
from aphrodite_engine.params import SamplingParams
from aphrodite_engine.sampling.steps import steps_of
from aphrodite_engine.tokenizer import Tokenizer

#: Sets of breakers that are kept; one of a large vocabulary takes 150 kB and a tenth of a second.
_MAX_KEPT = 16


class Words:
    """What one model's tokenizer makes of them."""

    def __init__(self, tokenizer: Tokenizer | None, vocab_size: int) -> None:
        self._tokenizer, self._vocab_size = tokenizer, vocab_size
        self._texts: list[str] | None = None
        self._breakers: OrderedDict[tuple[str, ...], np.ndarray] = OrderedDict()
        self._lock = threading.Lock()

    def bad_words(self, params: SamplingParams) -> tuple[tuple[int, ...], ...]:
        """Ids of every bad word, as it stands and behind a space.

        Raises:
            ParameterError: there is no tokenizer.
        """
        if not params.bad_words:
            return ()
        encode = self._needed("bad_words", params.bad_words, "logit_bias").encode
        texts = [start + word for word in params.bad_words for start in ("", " ")]
        return tuple(dict.fromkeys(tuple(ids) for text in texts if (ids := encode(text, add_special_tokens=False))))

    def breakers(self, params: SamplingParams) -> np.ndarray | None:
        """(V,) bool, tokens whose text holds one of dry_sequence_breakers; None without DRY or breakers.

        Raises:
            ParameterError: there is no tokenizer.
        """
        wanted = tuple(params.dry_sequence_breakers)
        if not wanted or "dry" not in steps_of(params):
            return None
        tokenizer = self._needed("dry_sequence_breakers", wanted, "[]")
        with self._lock:
            if wanted not in self._breakers:
                self._breakers[wanted] = self._with_any_of(wanted, tokenizer)
            self._breakers.move_to_end(wanted)
            while len(self._breakers) > _MAX_KEPT:
                self._breakers.popitem(last=False)
            return self._breakers[wanted]

    def _with_any_of(self, wanted: tuple[str, ...], tokenizer: Tokenizer) -> np.ndarray:
        if self._texts is None:
            count = min(tokenizer.vocab_size, self._vocab_size)
            self._texts = [tokenizer.token_text(token_id) for token_id in range(count)]
        found = np.zeros(self._vocab_size, dtype=bool)
        found[: len(self._texts)] = [any(breaker in text for breaker in wanted) for text in self._texts]
        return found

    def _needed(self, name: str, value: object, instead: str) -> Tokenizer:
        if self._tokenizer is None:
            raise ParameterError(name, value, f"{instead}, since this model folder has no tokenizer")
        return self._tokenizer
