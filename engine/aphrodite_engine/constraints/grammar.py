"""What a text must look like: a grammar as a mask over each next token.

A grammar is compiled once, where a request is admitted; each sequence walks through it with a state of its own.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from aphrodite_engine.constraints.trial import Trial
from aphrodite_engine.errors import ParameterError
from aphrodite_engine.structured_outputs import FIELD, Source, kind_of, source_of
from aphrodite_engine.tokenizer import Tokenizer

#: Compiled grammars that are kept, by count and by estimated bytes.
MAX_CACHED = 128
MAX_CACHED_BYTES = 128 << 20
#: CPU time one mask may take while the model runs; an ordinary one takes 10 us, and every row of the step waits for it.
MASK_SECONDS = 0.1
#: Measured: a compiled grammar takes half a megabyte and up to a hundred times its text.
_BASE_BYTES, _BYTES_PER_CHARACTER = 1 << 19, 100


class GrammarState:
    """Where one sequence is in its grammar.

    Attributes:
        is_complete: the text can only end here, or has ended.
        problem: why no further token can be found: the grammar went beyond a limit.
        num_words: of a mask, 32 ids each.
    """

    def __init__(self, matcher: Any, end_id: int, eos_token_ids: tuple[int, ...], num_words: int) -> None:
        self._matcher, self._end_id, self._eos, self.num_words = matcher, end_id, eos_token_ids, num_words
        self.is_complete: bool = matcher.is_stopped()
        self.problem: str | None = None
        self._num_consumed = 0

    def fill(self, mask: np.ndarray) -> None:
        """Set the bits of the tokens that may come next, in (words,) int32; EOS where the text may end."""
        started = time.thread_time()
        self._matcher.unsafe_compute_mask_ptr(mask.ctypes.data, mask.nbytes)
        if self._matcher.is_error():
            self._give_up()
        elif time.thread_time() - started > MASK_SECONDS:
            self.problem = f"a token took more than {MASK_SECONDS:g} s to find"
        octets, place, bit = mask.view(np.uint8), *divmod(self._end_id, 8)
        if octets[place] >> bit & 1:
            octets[place] ^= 1 << bit
            for token_id in self._eos:
                octets[token_id // 8] |= 1 << token_id % 8

    def advance(self, token_id: int) -> None:
        """Go on by one drawn token."""
        if token_id in self._eos and self._matcher.is_accepting():
            self.is_complete = True
        elif self._matcher.consume_token(token_id):
            self._num_consumed += 1
            self.is_complete = self._matcher.is_stopped()
        else:
            self._give_up()

    def mark(self) -> int:
        """Where it is now, for `rewind`."""
        return self._num_consumed

    def rewind(self, mark: int) -> None:
        """Back to where `mark` was taken."""
        if self._matcher.rollback(self._num_consumed - mark):
            self._num_consumed, self.is_complete = mark, self._matcher.is_stopped()
        else:
            self._give_up()

    def _give_up(self) -> None:
        from aphrodite_engine.constraints.matcher import reason

        self.problem = reason(self._matcher)


@dataclass(frozen=True, eq=False)
class Grammar:
    """A compiled grammar."""

    _matcher: Any
    _lock: threading.Lock
    _end_id: int
    _eos_token_ids: tuple[int, ...]
    _num_words: int

    def start(self) -> GrammarState:
        """A state at the beginning of a text."""
        with self._lock:
            matcher = self._matcher.deep_copy()
        return GrammarState(matcher, self._end_id, self._eos_token_ids, self._num_words)


class Grammars:
    """Compiles grammars for one tokenizer and keeps the last ones.

    Args:
        vocab_size: of the model.
    """

    def __init__(self, tokenizer: Tokenizer | None, vocab_size: int, eos_token_ids: tuple[int, ...]) -> None:
        self._tokenizer, self._vocab_size, self._eos = tokenizer, vocab_size, eos_token_ids
        self._lock = threading.Lock()
        self._vocabulary: Any = None
        self._trial: Trial | None = None
        self._kept: OrderedDict[Source, Grammar] = OrderedDict()
        self._kept_bytes = 0

    def compiled(self, asked: Mapping[str, Any]) -> Grammar:
        """The grammar that `asked` (SamplingParams.structured_outputs) describes.

        Raises:
            ParameterError: it is wrong, too large, too slow, or cannot be used with this model's tokenizer.
        """
        source = source_of(asked)
        with self._lock:
            kept = self._kept.get(source)
            if kept is not None:
                self._kept.move_to_end(source)
                return kept
            vocabulary, trial = self._opened(asked)
        grammar, problem = trial.run(*source)
        if problem is not None:
            raise _refused(asked, problem)
        return self._keep(source, self._compile(asked, vocabulary, grammar))

    def close(self) -> None:
        """Forget everything and end the process that tries grammars."""
        with self._lock:
            self._kept.clear()
            trial, self._trial, self._vocabulary = self._trial, None, None
        if trial is not None:
            trial.close()

    @property
    def kept(self) -> tuple[int, int]:
        """How many compiled grammars are kept, and their estimated bytes."""
        return len(self._kept), self._kept_bytes

    def _opened(self, asked: Mapping[str, Any]) -> tuple[Any, Trial]:
        from aphrodite_engine.constraints.matcher import GrammarRefused, Vocabulary

        if self._tokenizer is None:
            raise ParameterError(FIELD, asked, "nothing, since this model folder has no tokenizer")
        if self._trial is None:
            tokenizer_json = self._tokenizer.to_json()
            try:
                self._vocabulary = Vocabulary.of(tokenizer_json, self._vocab_size)
            except GrammarRefused as error:
                kind = "its tokenizer is neither byte-level nor has it tokens for single bytes"
                raise ParameterError(FIELD, asked, f"nothing with this model: {kind} ({error})") from error
            self._trial = Trial(tokenizer_json, self._vocab_size)
            weakref.finalize(self, self._trial.close)
        return self._vocabulary, self._trial

    def _compile(self, asked: Mapping[str, Any], vocabulary: Any, grammar: str) -> Grammar:
        from aphrodite_engine.constraints.matcher import GrammarRefused, compiled

        try:
            matcher = compiled(vocabulary, grammar)
        except GrammarRefused as error:
            raise _refused(asked, str(error)) from error
        words = -(-vocabulary.tokenizer.vocab_size // 32)
        return Grammar(matcher, threading.Lock(), vocabulary.end_id, self._eos, words)

    def _keep(self, source: Source, grammar: Grammar) -> Grammar:
        with self._lock:
            if source not in self._kept:
                self._kept_bytes += _estimated_bytes(source)
            self._kept[source] = grammar
            while len(self._kept) > MAX_CACHED or self._kept_bytes > MAX_CACHED_BYTES:
                oldest, _ = self._kept.popitem(last=False)
                self._kept_bytes -= _estimated_bytes(oldest)
        return grammar


def _refused(asked: Mapping[str, Any], problem: str) -> ParameterError:
    kind = kind_of(asked)
    return ParameterError(f"{FIELD}.{kind}", asked[kind], problem)


def _estimated_bytes(source: Source) -> int:
    return _BASE_BYTES + _BYTES_PER_CHARACTER * len(source[1])
