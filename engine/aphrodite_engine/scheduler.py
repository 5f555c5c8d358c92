"""Who runs in the next step: one token budget, decodes and prefill chunks together, first come first served."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from aphrodite_engine.kv_cache import BLOCK_SIZE, BlockPool
from aphrodite_engine.request import Sequence, Status


@dataclass(frozen=True)
class Chunk:
    """Tokens `start` to `start + length` of a sequence, to be computed in this step.

    Attributes:
        first_stored: positions below it already have their keys and values in the cache.
        samples: the chunk reaches the sequence's end, so its last row yields the next token.
        unread: the chunk's only token is the one in this row of what the step in front of it drew: the host does not
            know it yet. None is a chunk of known tokens.
    """

    sequence: Sequence
    start: int
    length: int
    first_stored: int
    samples: bool
    unread: int | None = None


@dataclass(frozen=True)
class Unread:
    """What a step that was launched has drawn, as far as the host knows without reading it.

    Attributes:
        rows: of each sequence that has one more token than the host knows, its row in the tokens drawn.
        ending: sequences that end with that token, whatever it is.
    """

    rows: Mapping[Sequence, int] = field(default_factory=dict)
    ending: frozenset[Sequence] = frozenset()


_ALL_READ = Unread()


class Scheduler:
    """Two queues, `waiting` and `running`, both in order of (priority, arrival).

    Attributes:
        num_preemptions: how often a running sequence has had to give its blocks back, since the engine started.
    """

    def __init__(self, pool: BlockPool, max_num_batched_tokens: int, max_num_seqs: int, prefix_caching: bool) -> None:
        self.pool = pool
        self.max_num_batched_tokens = max_num_batched_tokens
        self.max_num_seqs = max_num_seqs
        self.prefix_caching = prefix_caching
        self.waiting: list[Sequence] = []
        self.running: list[Sequence] = []
        self.num_preemptions = 0

    def add(self, sequence: Sequence) -> None:
        sequence.status = Status.WAITING
        bisect.insort(self.waiting, sequence, key=_order)

    def schedule(self) -> list[Chunk]:
        """Plan a step: running sequences first, then as many waiting ones as budget and blocks allow."""
        chunks, budget, preempted = self._schedule_running(_ALL_READ)
        if not preempted:
            chunks += self._admit(budget)
        return chunks

    def schedule_behind(self, unread: Unread) -> list[Chunk]:
        """Plan the step behind one whose tokens nobody has read. Nobody gives blocks back for it: nothing is planned
        where they may not suffice."""
        missing = sum(max(0, _blocks_for(_length(s, unread)) - len(s.block_table)) for s in self.running)
        if missing > self.pool.num_free:
            return []
        chunks, budget, _ = self._schedule_running(unread)
        return chunks + self._admit(budget)

    def update(self, chunks: Iterable[Chunk]) -> None:
        """Record a step that was launched: what it computes becomes findable by its hash.

        It may still run. Whoever finds a block reads it in a later step, and steps run one after the other.
        """
        for chunk in chunks:
            sequence = chunk.sequence
            sequence.num_computed = sequence.num_stored = chunk.start + chunk.length
            if self.prefix_caching:
                self._publish(sequence)

    def forget_cache(self) -> None:
        """Know of no prefix any more; nothing may be running."""
        self.pool = BlockPool(self.pool.num_blocks)

    def take_back(self, sequence: Sequence, position: int) -> None:
        """Let a running sequence forget its token at `position` and all behind it.

        Others may read a block that was published, so nothing is written into it again: where the sequence goes on in
        the middle of one, it takes a block of its own and computes its tokens anew.
        """
        sequence.take_back(position)
        whole = position // BLOCK_SIZE
        kept = whole if sequence.num_published > whole else _blocks_for(position)
        self.pool.release(sequence.block_table[kept:])
        sequence.block_table = sequence.block_table[:kept]
        sequence.num_published = min(sequence.num_published, whole)
        sequence.num_stored = min(position, kept * BLOCK_SIZE)
        # The last token is computed again, for its logits.
        sequence.num_computed = min(position - 1, sequence.num_stored)

    def finish(self, sequence: Sequence) -> None:
        """Take a sequence out, wherever it is, and free its blocks.

        A step that was launched may still compute its next token and write its keys and values. That is a place
        behind all that was published; and whoever is given the block writes each place, in a later step, before it
        reads it.
        """
        if self.prefix_caching:
            self._publish(sequence)
        if sequence.status is Status.RUNNING:
            self.running.remove(sequence)
        elif sequence.status is Status.WAITING:
            self.waiting.remove(sequence)
        sequence.status = Status.FINISHED
        self._release(sequence)

    def _schedule_running(self, unread: Unread) -> tuple[list[Chunk], int, bool]:
        chunks: list[Chunk] = []
        budget, preempted = self.max_num_batched_tokens, False
        for sequence in list(self.running):
            if budget == 0:
                break
            if sequence.status is not Status.RUNNING or sequence in unread.ending:
                continue  # it made room for one before it, or there is nothing left to do for it
            length = min(_length(sequence, unread) - sequence.num_computed, budget)
            while not self._grow(sequence, sequence.num_computed + length):
                victim = self.running[-1]
                preempted = True
                self._preempt(victim)
                if victim is sequence:
                    break
            if sequence.status is Status.RUNNING:
                chunks.append(_chunk(sequence, length, sequence.num_stored, unread.rows.get(sequence)))
                budget -= length
        return chunks, budget, preempted

    def _admit(self, budget: int) -> list[Chunk]:
        chunks: list[Chunk] = []
        if not self.waiting or budget == 0:
            return chunks
        in_progress = self._hashes_in_progress()
        for sequence in list(self.waiting):
            if budget == 0 or len(self.running) >= self.max_num_seqs:
                break
            cached = self._cached_prefix(sequence)
            if self._someone_computes_next_block(sequence, len(cached), in_progress):
                continue
            stored = len(cached) * BLOCK_SIZE
            # A fully cached prompt still needs its last token's logits: compute that one again, store nothing.
            start = min(stored, len(sequence.token_ids) - 1)
            length = min(len(sequence.token_ids) - start, budget)
            missing = _blocks_for(start + length) - len(cached)
            if missing > self.pool.num_free - self.pool.num_free_among(cached):
                break
            self._start(sequence, cached, missing, start)
            chunks.append(_chunk(sequence, length, stored, None))
            budget -= length
            in_progress.update(sequence.block_hashes[len(cached) :])
        return chunks

    def _cached_prefix(self, sequence: Sequence) -> list[int]:
        if not self.prefix_caching or not sequence.may_skip_prefix:
            return []
        return self.pool.find_prefix(sequence.block_hashes)

    def _someone_computes_next_block(self, sequence: Sequence, num_cached: int, in_progress: set[bytes]) -> bool:
        """Waiting a step for another's prefill beats computing the same prefix twice (n > 1, sweeps)."""
        hashes = sequence.block_hashes
        may_wait = self.prefix_caching and sequence.may_skip_prefix and num_cached < len(hashes)
        return may_wait and hashes[num_cached] in in_progress

    def _hashes_in_progress(self) -> set[bytes]:
        if not self.prefix_caching:
            return set()
        return {h for sequence in self.running for h in sequence.block_hashes[sequence.num_published :]}

    def _start(self, sequence: Sequence, cached: list[int], missing: int, start: int) -> None:
        self.pool.acquire(cached)
        sequence.block_table = cached + self.pool.allocate(missing)
        sequence.num_published = len(cached)
        sequence.num_computed, sequence.num_stored = start, start
        if sequence.num_cached is None:
            sequence.num_cached = start
        sequence.status = Status.RUNNING
        self.waiting.remove(sequence)
        bisect.insort(self.running, sequence, key=_order)

    def _grow(self, sequence: Sequence, num_tokens: int) -> bool:
        missing = _blocks_for(num_tokens) - len(sequence.block_table)
        if missing > self.pool.num_free:
            return False
        if missing > 0:
            sequence.block_table += self.pool.allocate(missing)
        return True

    def _preempt(self, sequence: Sequence) -> None:
        """Recompute later: its blocks go back, its tokens stay, and the draws to come do not change."""
        self.running.remove(sequence)
        self._release(sequence)
        sequence.num_preemptions += 1
        self.num_preemptions += 1
        self.add(sequence)

    def _release(self, sequence: Sequence) -> None:
        self.pool.release(sequence.block_table)
        sequence.block_table = []
        sequence.num_computed = sequence.num_stored = sequence.num_published = 0

    def _publish(self, sequence: Sequence) -> None:
        # The hash of a block lacks where the host has not read its last token.
        full = min(sequence.num_computed // BLOCK_SIZE, len(sequence.block_hashes))
        for index in range(sequence.num_published, full):
            self.pool.publish(sequence.block_table[index], sequence.block_hashes[index])
            sequence.num_published = index + 1


def _length(sequence: Sequence, unread: Unread) -> int:
    """Tokens of a sequence, one that nobody has read included."""
    return len(sequence.token_ids) + (sequence in unread.rows)


def _chunk(sequence: Sequence, length: int, first_stored: int, unread: int | None) -> Chunk:
    start = sequence.num_computed
    num_tokens = len(sequence.token_ids) + (unread is not None)
    return Chunk(sequence, start, length, first_stored, start + length == num_tokens, unread)


def _blocks_for(num_tokens: int) -> int:
    return -(-num_tokens // BLOCK_SIZE)


def _order(sequence: Sequence) -> tuple[int, int, int]:
    return sequence.order
