"""The scheduler against a shadow of the cache: whatever comes in, in whatever order, every token is computed from the
right keys, nothing is lost, nothing leaks, and everything ends."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aphrodite_engine.kv_cache import BLOCK_SIZE, BlockPool, root_hash
from aphrodite_engine.params import SamplingParams
from aphrodite_engine.request import Request, Sequence, Status
from aphrodite_engine.scheduler import Chunk, Scheduler, Unread


@dataclass
class World:
    """A scheduler, a fake model that draws a token from the position alone, and a shadow of what each slot holds."""

    num_blocks: int = 64
    budget: int = 512
    max_num_seqs: int = 64
    prefix_caching: bool = True
    shadow: dict[tuple[int, int], tuple[str, tuple[int, ...]]] = field(default_factory=dict)
    wanted: dict[Sequence, int] = field(default_factory=dict)
    arrivals: int = 0
    preemptions: int = 0

    def __post_init__(self) -> None:
        self.pool = BlockPool(self.num_blocks)
        self.scheduler = Scheduler(self.pool, self.budget, self.max_num_seqs, self.prefix_caching)

    def add(
        self,
        prompt: list[int],
        outputs: int = 1,
        *,
        n: int = 1,
        priority: int = 0,
        salt: str = "",
        every_row: bool = False,
    ) -> list[Sequence]:
        """Queue a request whose sequences end after `outputs` tokens; `every_row` wants each prompt row's output."""
        params = SamplingParams(n=n, prompt_logprobs=0 if every_row else None)
        number, self.arrivals = self.arrivals, self.arrivals + 1
        request = Request(
            request_id=str(number), prompt_token_ids=tuple(prompt), params=params, seed=0, arrival=number,
            priority=priority, cache_salt=salt,
        )  # fmt: skip
        sequences = [Sequence(request, index, root_hash("m", salt)) for index in range(n)]
        for sequence in sequences:
            self.wanted[sequence] = len(prompt) + outputs
            self.scheduler.add(sequence)
        return sequences

    def step(self) -> list[Chunk]:
        """One step: schedule, check, compute, update, draw."""
        before = {sequence: sequence.num_preemptions for sequence in self.scheduler.running}
        chunks = self.scheduler.schedule()
        self._check_step(chunks, before)
        for chunk in chunks:
            self._compute(chunk)
        self.scheduler.update(chunks)
        for chunk in chunks:
            if chunk.samples:
                self._draw(chunk.sequence)
        self.check_blocks()
        return chunks

    def finish_all(self) -> None:
        """Liveness: as many steps as one token a step would need, and nobody is left."""
        steps = sum(self.wanted.values()) * 4
        while self.scheduler.waiting or self.scheduler.running:
            assert steps > 0, "requests wait and nothing moves"
            steps -= 1
            assert self.step(), "requests wait and nothing was scheduled"
        assert self.pool.num_free == self.num_blocks

    def abort(self, sequence: Sequence) -> None:
        self.scheduler.finish(sequence)
        assert sequence.block_table == []
        self.check_blocks()

    def check_blocks(self) -> None:
        """Every block's references are the tables that hold it, and no block is both free and held."""
        held = Counter(block for sequence in self.scheduler.running for block in sequence.block_table)
        assert self.pool._references == [held[block] for block in range(self.num_blocks)]
        assert self.pool.num_free == self.num_blocks - len(held)
        assert set(self.pool._free).isdisjoint(held)
        assert all(not sequence.block_table for sequence in self.scheduler.waiting)

    def _check_step(self, chunks: list[Chunk], before: dict[Sequence, int]) -> None:
        scheduler = self.scheduler
        spent = sum(chunk.length for chunk in chunks)
        assert spent <= self.budget
        assert all(chunk.length > 0 for chunk in chunks)
        assert len(scheduler.running) <= self.max_num_seqs
        scheduled = [chunk.sequence for chunk in chunks]
        assert len(set(scheduled)) == len(scheduled)
        assert set(scheduled) <= set(scheduler.running)
        for queue in (scheduler.waiting, scheduler.running):
            assert [s.order for s in queue] == sorted(s.order for s in queue)
        assert set(scheduled) == set(scheduler.running) or spent == self.budget
        preempted = [sequence for sequence, count in before.items() if sequence.num_preemptions > count]
        self.preemptions += len(preempted)
        if preempted:
            assert set(scheduled) <= set(before), "a step that takes blocks away admits nobody"
            assert max((s.order for s in scheduler.running), default=(0,)) < min(s.order for s in preempted)
        for late in set(scheduled) - set(before):
            for early in scheduler.waiting:
                assert early.order > late.order or any(_same_start(early, other) for other in scheduler.running)

    def _compute(self, chunk: Chunk) -> None:
        sequence, stop = chunk.sequence, chunk.start + chunk.length
        assert sequence.num_computed == chunk.start
        assert chunk.samples == (stop == len(sequence.token_ids))
        if not sequence.may_skip_prefix and sequence.num_output == 0:
            assert chunk.first_stored <= chunk.start
        for position in range(chunk.start, stop):
            if position >= chunk.first_stored:
                self.shadow[self._slot(sequence, position)] = self._content(sequence, position)
        for position in range(stop):
            assert self.shadow[self._slot(sequence, position)] == self._content(sequence, position)

    def _draw(self, sequence: Sequence) -> None:
        sequence.append(drawn(sequence))
        if len(sequence.token_ids) == self.wanted[sequence]:
            self.scheduler.finish(sequence)

    @staticmethod
    def _slot(sequence: Sequence, position: int) -> tuple[int, int]:
        return sequence.block_table[position // BLOCK_SIZE], position % BLOCK_SIZE

    @staticmethod
    def _content(sequence: Sequence, position: int) -> tuple[str, tuple[int, ...]]:
        """A key depends on every token up to its own, and is one tenant's."""
        return sequence.request.cache_salt, tuple(sequence.token_ids[: position + 1])


@dataclass
class AheadWorld(World):
    """The same, but each step is computed before the tokens of the one in front of it are read. Of every other request
    nobody knows when its sequences end."""

    front: list[Chunk] = field(default_factory=list)
    computed_behind: int = 0

    def step(self) -> list[Chunk]:
        front = self.front or self._launch(self.scheduler.schedule())
        rows = {chunk.sequence: row for row, chunk in enumerate(chunk for chunk in front if chunk.samples)}
        before = self.scheduler.num_preemptions
        self.front = self._launch(self.scheduler.schedule_behind(Unread(rows, frozenset(filter(self._is_known, rows)))))
        assert self.scheduler.num_preemptions == before, "nobody gives way to a step ahead"
        self.computed_behind += any(chunk.unread is not None for chunk in self.front)
        for chunk in front:
            if chunk.samples and chunk.sequence.status is not Status.FINISHED:
                self._draw(chunk.sequence)
        self.check_blocks()
        return front

    def _launch(self, chunks: list[Chunk]) -> list[Chunk]:
        assert sum(chunk.length for chunk in chunks) <= self.budget
        assert len(self.scheduler.running) <= self.max_num_seqs
        for chunk in chunks:
            if chunk.unread is None:
                self._compute(chunk)
            else:
                self._compute_unread(chunk)
        self.scheduler.update(chunks)
        return chunks

    def _compute_unread(self, chunk: Chunk) -> None:
        """One token, that the host does not know, behind all that it does; it may be one too many."""
        sequence = chunk.sequence
        known = len(sequence.token_ids)
        assert (chunk.start, chunk.length, chunk.samples, sequence.num_computed) == (known, 1, True, known)
        tokens = (*sequence.token_ids, drawn(sequence))
        assert len(tokens) < self.wanted[sequence] or not self._is_known(sequence)
        self.shadow[self._slot(sequence, known)] = sequence.request.cache_salt, tokens
        for position in range(known):
            assert self.shadow[self._slot(sequence, position)] == self._content(sequence, position)

    def _is_known(self, sequence: Sequence) -> bool:
        ends = len(sequence.token_ids) + 1 == self.wanted[sequence]
        return ends and sequence.request.arrival % 2 == 0


def drawn(sequence: Sequence) -> int:
    """What the fake model draws next: it names request, sequence and position."""
    return 10_000 + 1000 * sequence.request.arrival + 100 * sequence.index + sequence.num_output


def expected(sequence: Sequence, outputs: int) -> list[int]:
    base = 10_000 + 1000 * sequence.request.arrival + 100 * sequence.index
    return [*sequence.request.prompt_token_ids, *(base + i for i in range(outputs))]


def _same_start(early: Sequence, other: Sequence) -> bool:
    same_salt = early.request.cache_salt == other.request.cache_salt
    return same_salt and early.token_ids[:BLOCK_SIZE] == other.token_ids[:BLOCK_SIZE]


# ---- random walks


@st.composite
def prompts(draw: st.DrawFn, longest: int) -> list[int]:
    """A common start (so that prefixes are shared), then something of its own."""
    common = draw(st.integers(0, longest - 1))
    own = draw(st.integers(1, longest - common))
    return list(range(common)) + [draw(st.integers(500, 501))] * own


@st.composite
def worlds(draw: st.DrawFn) -> World:
    return draw(st.sampled_from([World, AheadWorld]))(
        num_blocks=draw(st.integers(5, 14)),
        budget=draw(st.sampled_from([1, 2, 7, 16, 33, 512])),
        max_num_seqs=draw(st.sampled_from([1, 2, 3, 64])),
        prefix_caching=draw(st.booleans()),
    )


WAYS_TO_ASK: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "n": st.integers(1, 3),
        "priority": st.integers(-1, 1),
        "salt": st.sampled_from(["", "", "b"]),
        "every_row": st.sampled_from([False, False, True]),
    }
)
LONGEST = 4 * BLOCK_SIZE  # prompt; with 16 more output tokens one sequence always fits five blocks


@given(worlds(), st.data())
@settings(max_examples=150)
def test_any_walk_of_arrivals_steps_and_aborts_keeps_the_invariants_and_ends(world: World, data: st.DataObject) -> None:
    outputs: dict[Sequence, int] = {}
    for action in data.draw(st.lists(st.sampled_from(["add", "add", "step", "step", "abort"]), max_size=30)):
        if action == "add":
            count = data.draw(st.integers(1, 16))
            prompt, how = data.draw(prompts(LONGEST)), data.draw(WAYS_TO_ASK)
            added = world.add(prompt, count, **how)
            outputs |= dict.fromkeys(added, count)
        elif action == "step":
            world.step()
        else:
            living = [*world.scheduler.running, *world.scheduler.waiting]
            if living:
                victim = data.draw(st.sampled_from(living))
                world.abort(victim)
                del outputs[victim]
    world.finish_all()
    for sequence, count in outputs.items():
        assert sequence.token_ids == expected(sequence, count)
        assert sequence.status is Status.FINISHED


def test_blocks_are_reused_while_a_step_that_writes_into_them_is_in_the_air() -> None:
    world = AheadWorld(num_blocks=6)
    sequences = [world.add([900 + i] * 17, 13 + i)[0] for i in range(9)]
    world.finish_all()
    assert world.computed_behind > 20
    assert [s.token_ids for s in sequences] == [expected(s, 13 + i) for i, s in enumerate(sequences)]


def test_what_a_sequence_left_is_found_although_its_last_token_was_read_late() -> None:
    world = AheadWorld()
    sequence = world.add(list(range(16)), 17)[0]
    world.finish_all()
    world.add([*sequence.token_ids, 7])
    assert world.step()[0].start == 32


def test_preemption_by_recompute_loses_no_tokens() -> None:
    world = World(num_blocks=6, prefix_caching=False)
    sequences = [world.add([900 + i] * 20, 40)[0] for i in range(3)]
    world.finish_all()
    assert world.preemptions > 0
    assert sum(sequence.num_preemptions for sequence in sequences) == world.preemptions
    assert [s.token_ids for s in sequences] == [expected(s, 40) for s in sequences]
    assert sequences[0].num_preemptions == 0, "the first to come is the last to give way"


# ---- budget and order


def test_a_long_prompt_is_cut_into_chunks_of_the_budget() -> None:
    world = World(budget=7)
    world.add(list(range(20)))
    chunks = [world.step()[0] for _ in range(3)]
    assert [(chunk.start, chunk.length, chunk.samples) for chunk in chunks] == [
        (0, 7, False), (7, 7, False), (14, 6, True),
    ]  # fmt: skip


def test_decodes_and_prefill_chunks_share_one_step() -> None:
    world = World(budget=8)
    first = world.add([1] * 4, 10)[0]
    world.step()
    second = world.add([2] * 20, 1)[0]
    chunks = world.step()
    assert [(chunk.sequence, chunk.length) for chunk in chunks] == [(first, 1), (second, 7)]


def test_first_come_first_served_within_a_priority_and_lower_numbers_first_between_them() -> None:
    world = World(max_num_seqs=1, prefix_caching=False)
    late, plain, urgent = (world.add([i] * 4, priority=p)[0] for i, p in ((1, 5), (2, 0), (3, -5)))
    also_plain = world.add([4] * 4)[0]
    order = []
    while world.scheduler.waiting:
        order.append(world.step()[0].sequence)
    assert order == [urgent, plain, also_plain, late]


def test_no_more_sequences_run_than_allowed() -> None:
    world = World(max_num_seqs=2, prefix_caching=False)
    for i in range(5):
        world.add([i] * 4, 3)
    assert len(world.step()) == 2


def test_a_sequence_that_does_not_fit_yet_is_not_overtaken_by_a_smaller_one() -> None:
    world = World(num_blocks=4, prefix_caching=False)
    world.add([1] * 32, 3)
    world.step()
    large, small = world.add([2] * 48, 1)[0], world.add([3] * 4, 1)[0]
    world.step()
    assert world.scheduler.waiting == [large, small]


def test_cached_blocks_that_a_sequence_is_about_to_use_do_not_count_as_room_for_the_rest_of_it() -> None:
    world = World(num_blocks=4)
    world.add(list(range(32)))
    world.finish_all()
    world.add([500] * 30, 9)
    world.step()
    hit = world.add([*range(32), 7])[0]
    world.step()
    assert hit.status is Status.WAITING
    world.finish_all()
    assert hit.num_cached is not None


# ---- prefix reuse


def test_a_full_hit_computes_only_the_last_token_and_stores_nothing() -> None:
    world = World()
    world.add(list(range(32)))
    world.finish_all()
    again = world.add(list(range(32)))[0]
    (chunk,) = world.step()
    assert (chunk.start, chunk.length, chunk.first_stored, chunk.samples) == (31, 1, 32, True)
    assert again.num_cached == 31


def test_a_partial_hit_computes_what_follows_the_last_full_block() -> None:
    world = World()
    world.add(list(range(40)))
    world.finish_all()
    world.add([*range(40), 7])
    (chunk,) = world.step()
    assert (chunk.start, chunk.length, chunk.first_stored) == (32, 9, 32)


def test_output_tokens_are_a_prefix_to_reuse_too() -> None:
    world = World()
    sequence = world.add(list(range(16)), 17)[0]
    world.finish_all()
    world.add(sequence.token_ids)
    assert world.step()[0].start == 32


def test_different_salts_never_share() -> None:
    world = World()
    world.add(list(range(32)), salt="a")
    world.finish_all()
    other = world.add(list(range(32)), salt="b")[0]
    assert world.step()[0].start == 0
    assert other.num_cached == 0


def test_a_request_that_wants_every_prompt_row_computes_them_all_despite_a_hit() -> None:
    world = World()
    world.add(list(range(32)))
    world.finish_all()
    world.add(list(range(32)), every_row=True)
    (chunk,) = world.step()
    assert (chunk.start, chunk.length) == (0, 32)


def test_without_prefix_caching_nothing_is_shared() -> None:
    world = World(prefix_caching=False)
    world.add(list(range(32)))
    world.finish_all()
    world.add(list(range(32)), n=2)
    assert [chunk.start for chunk in world.step()] == [0, 0]


def test_the_least_recently_used_prefix_is_forgotten_first() -> None:
    world = World(num_blocks=4)
    old, newer, newest = ([start + i for i in range(32)] for start in (100, 200, 300))
    for prompt in (old, newer, newest):
        world.add(prompt)
        world.finish_all()
    assert [num_cached(world, prompt) for prompt in (newest, newer, old)] == [31, 31, 0]


def num_cached(world: World, prompt: list[int]) -> int | None:
    """How many tokens of the prompt a new request would find."""
    (sequence,) = world.add(prompt)
    world.step()
    return sequence.num_cached


@pytest.mark.parametrize("budget", [7, 512])
def test_siblings_wait_for_their_leaders_prefill_and_share_its_blocks(budget: int) -> None:
    world = World(budget=budget)
    leader, *siblings = world.add(list(range(40)), 40, n=4)
    world.step()
    while leader.num_published < 2:
        assert world.scheduler.waiting == siblings
        world.step()
    while any(sibling.num_output == 0 for sibling in siblings):
        world.step()
    assert {tuple(sequence.block_table[:2]) for sequence in (leader, *siblings)} == {tuple(leader.block_table[:2])}
    assert [sibling.num_cached for sibling in siblings] == [32, 32, 32]
    assert len({sequence.block_table[2] for sequence in (leader, *siblings)}) == 4, "the half-filled block is private"


def test_siblings_of_an_aborted_leader_go_on_without_it() -> None:
    world = World(budget=7)
    leader, *siblings = world.add(list(range(40)), 2, n=3)
    world.step()
    world.abort(leader)
    world.finish_all()
    assert [s.token_ids for s in siblings] == [expected(s, 2) for s in siblings]


# ---- abort


def test_abort_frees_everything_in_every_state() -> None:
    world = World(num_blocks=6, budget=16)
    waiting, prefilling, decoding = world.add([1] * 8)[0], world.add([2] * 40)[0], world.add([3] * 8, 9)[0]
    world.abort(waiting)
    world.step()
    world.abort(prefilling)
    world.step()
    assert decoding.num_output > 0
    world.abort(decoding)
    assert world.pool.num_free == 6
    assert (world.scheduler.waiting, world.scheduler.running) == ([], [])


def test_abort_of_a_preempted_sequence_leaves_the_queue_clean() -> None:
    world = World(num_blocks=4, prefix_caching=False)
    first, second = world.add([1] * 24, 30)[0], world.add([2] * 24, 30)[0]
    while not second.num_preemptions:
        world.step()
    world.abort(second)
    world.finish_all()
    assert first.token_ids == expected(first, 30)
