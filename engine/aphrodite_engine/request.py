"""A request, and the sequences it grows: plain state that scheduler, runner and engine hand to each other."""

from __future__ import annotations

import copy
import enum
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from aphrodite_engine.constraints.grammar import Grammar, GrammarState
from aphrodite_engine.constraints.redraws import Redraws
from aphrodite_engine.inside.hidden_states import Capture
from aphrodite_engine.inside.steering import Steering
from aphrodite_engine.kv_cache import BLOCK_SIZE, extend_hashes
from aphrodite_engine.params import Pooling, SamplingParams
from aphrodite_engine.prompts import Continuation
from aphrodite_engine.sampling.feedback import feedback_of
from aphrodite_engine.sampling.fused import ask_of
from aphrodite_engine.sampling.history import TokenHistory
from aphrodite_engine.sampling.steps import uses_history, uses_suffixes
from aphrodite_engine.sampling.suffixes import SuffixMatches
from aphrodite_kernels.draw import Ask


class Status(enum.Enum):
    """Where a sequence is; WAITING and RUNNING are the scheduler's two queues."""

    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a caller asked for, tokenised and checked.

    Attributes:
        prompt: its text, None where token ids were given.
        seed: the request's own or the one the engine chose; with it everything can be replayed.
        priority: lower runs first; ties go by arrival.
        pooling: set for an embedding request: no token is drawn, hidden states are pooled.
        cache_salt: prefix blocks are shared only between requests of one salt.
        capture: set for a request for hidden states: no token is drawn.
        continuation: output that is already there; then it is one sequence, whatever its index.
        steering: what is added to the residual stream, of prompt and output.
        grammar: what the text must look like; each sequence walks through it on its own.
        bad_words: ids of each text that must not come.
        breakers: (V,) bool, the tokens that end a repetition for DRY.
    """

    request_id: str
    prompt_token_ids: tuple[int, ...]
    params: SamplingParams
    seed: int
    arrival: int
    prompt: str | None = None
    priority: int = 0
    cache_salt: str = ""
    pooling: Pooling | None = None
    capture: Capture | None = None
    continuation: Continuation | None = None
    steering: Steering = field(default_factory=Steering)
    grammar: Grammar | None = None
    bad_words: tuple[tuple[int, ...], ...] = ()
    breakers: np.ndarray | None = None

    @property
    def draws(self) -> bool:
        """Whether tokens are drawn; otherwise the prompt's hidden states are all there is to it."""
        return self.pooling is None and self.capture is None

    @cached_property
    def is_tapped(self) -> bool:
        """Whether it reaches into the model's layers."""
        return self.capture is not None or bool(self.steering.pushes)

    @cached_property
    def needs_host(self) -> bool:
        """Whether the host must know a token before the next can be drawn, or tells more of it than its id."""
        params = self.params
        reports = params.logprobs is not None or params.prompt_logprobs is not None or params.trace is not None
        remembers = uses_history(params) or uses_suffixes(params) or feedback_of(params) is not None
        obeys = bool(self.grammar or self.bad_words or params.banned_phrases or params.logit_bias)
        return not self.draws or reports or remembers or obeys or params.allowed_token_ids is not None

    @cached_property
    def ask(self) -> Ask | None:
        """For draws by one op, where the request allows it."""
        return ask_of(self.params)


@dataclass(frozen=True)
class Mark:
    """What the sampler remembers at one length of a sequence."""

    suffixes: SuffixMatches | None
    feedback: tuple[float, ...] | None
    grammar: int | None


@dataclass(eq=False)
class Sequence:
    """One growing sequence of a request (n of them).

    Attributes:
        token_ids: prompt and output.
        num_computed: tokens that need no more computing.
        num_stored: tokens whose keys and values are in the cache; one more than computed where only its logits lack.
        block_table: KV blocks in order. The list grows at its end; for any other change a new list takes its place.
        block_hashes: hash of every full block of token_ids.
        num_published: blocks already offered to other sequences.
        num_cached: prompt tokens found in the cache at first admission; None before.
        history, suffixes, feedback: what the sampler remembers of the tokens so far; None where no step asks.
        redraws: of tokens taken back, where a request may have to; None where it never does.
        imposed: output that is given token by token in place of draws, for samplers that learn from each.
    """

    request: Request
    index: int
    root_hash: bytes
    token_ids: list[int] = field(default_factory=list)
    num_computed: int = 0
    num_stored: int = 0
    block_table: list[int] = field(default_factory=list)
    block_hashes: list[bytes] = field(default_factory=list)
    num_published: int = 0
    num_cached: int | None = None
    num_preemptions: int = 0
    status: Status = Status.WAITING
    history: TokenHistory | None = None
    suffixes: SuffixMatches | None = None
    feedback: tuple[float, ...] | None = None
    grammar: GrammarState | None = None
    redraws: Redraws | None = None
    imposed: tuple[int, ...] = ()
    _marks: dict[int, Mark] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.token_ids = list(self.request.prompt_token_ids)
        extend_hashes(self.block_hashes, self.root_hash, self.token_ids)

    @property
    def prompt_len(self) -> int:
        return len(self.request.prompt_token_ids)

    @property
    def num_output(self) -> int:
        return len(self.token_ids) - self.prompt_len

    @property
    def draw_index(self) -> int:
        """What keys its draws, with seed and position."""
        continuation = self.request.continuation
        return self.index if continuation is None else continuation.index

    @property
    def forced(self) -> int | None:
        """The token that is given in place of the next draw."""
        return self.imposed[self.num_output] if self.num_output < len(self.imposed) else None

    @property
    def order(self) -> tuple[int, int, int]:
        """First come, first served within a priority."""
        return (self.request.priority, self.request.arrival, self.index)

    @property
    def may_skip_prefix(self) -> bool:
        """False when every prompt position's output is wanted, so cached ones must be computed again."""
        request = self.request
        return request.params.prompt_logprobs is None and request.pooling != "mean" and request.capture is None

    def append(self, token_id: int) -> None:
        """Add a drawn token."""
        if self.redraws is not None:
            self.redraws.drawn(len(self.token_ids))
            self._marks[len(self.token_ids)] = self._mark()
        self.token_ids.append(token_id)
        extend_hashes(self.block_hashes, self.root_hash, self.token_ids)
        if self.history is not None:
            self.history.add(token_id)
        if self.suffixes is not None:
            self.suffixes.add(token_id)
        if self.grammar is not None:
            self.grammar.advance(token_id)

    def take_back(self, position: int) -> None:
        """Forget the token at `position` and all behind it, as if they had never come; it must not come there again."""
        assert self.redraws is not None
        taken, mark = self.token_ids[position:], self._marks[position]
        self.redraws.take_back(position, taken)
        del self.token_ids[position:]
        del self.block_hashes[position // BLOCK_SIZE :]
        self.suffixes, self.feedback = mark.suffixes, mark.feedback
        if self.history is not None:
            for token_id in taken:
                self.history.remove(token_id)
        if self.grammar is not None and mark.grammar is not None:
            self.grammar.rewind(mark.grammar)

    def move_on(self, position: int) -> None:
        """The tokens before `position` stand for good."""
        if self.redraws is not None:
            self.redraws.move_on(position)
            self._marks = {place: mark for place, mark in self._marks.items() if place >= position}

    def _mark(self) -> Mark:
        # A shallow copy: arrays of suffixes are replaced, never changed.
        return Mark(copy.copy(self.suffixes), self.feedback, None if self.grammar is None else self.grammar.mark())
