"""Block pool and hash chain: who holds a block, whose content it is, and what is forgotten first."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from aphrodite_engine.kv_cache import BLOCK_SIZE, BlockPool, extend_hashes, root_hash


def chain(tokens: list[int], salt: str = "", model: str = "m") -> list[bytes]:
    hashes: list[bytes] = []
    extend_hashes(hashes, root_hash(model, salt), tokens)
    return hashes


def publish_chain(pool: BlockPool, hashes: list[bytes]) -> list[int]:
    blocks = pool.allocate(len(hashes))
    for block, block_hash in zip(blocks, hashes, strict=True):
        pool.publish(block, block_hash)
    return blocks


def test_only_full_blocks_have_a_hash() -> None:
    assert [len(chain([1] * count)) for count in (0, 1, 15, 16, 17, 31, 32)] == [0, 0, 0, 1, 1, 1, 2]


@given(st.lists(st.integers(0, 2**40), max_size=100), st.lists(st.integers(1, 20), max_size=10))
def test_hashes_do_not_depend_on_how_the_tokens_arrived(tokens: list[int], pieces: list[int]) -> None:
    hashes: list[bytes] = []
    arrived = 0
    for piece in [*pieces, len(tokens)]:
        arrived += piece
        extend_hashes(hashes, root_hash("m", ""), tokens[:arrived])
    assert hashes == chain(tokens)


@given(st.lists(st.integers(0, 5), min_size=32, max_size=64), st.integers(0, 63))
def test_a_changed_token_changes_its_block_and_all_after_it_and_none_before(tokens: list[int], place: int) -> None:
    place %= len(tokens)
    changed = [*tokens[:place], tokens[place] + 1, *tokens[place + 1 :]]
    same = [a == b for a, b in zip(chain(tokens), chain(changed), strict=True)]
    first = place // BLOCK_SIZE
    assert same == [index < first for index in range(len(same))]


def test_chains_of_another_model_or_salt_have_no_hash_in_common() -> None:
    tokens = [1] * 48
    chains = [chain(tokens), chain(tokens, salt="a"), chain(tokens, salt="b"), chain(tokens, model="other")]
    assert len({block_hash for hashes in chains for block_hash in hashes}) == 4 * 3


def test_any_text_can_be_a_salt_lone_surrogates_too() -> None:
    assert root_hash("m", "\ud800") != root_hash("m", "\udfff")


def test_a_released_prefix_is_found_and_acquired_again() -> None:
    pool, hashes = BlockPool(4), chain(list(range(48)))
    blocks = publish_chain(pool, hashes)
    pool.release(blocks)
    assert pool.num_free == 4
    assert pool.find_prefix(hashes) == blocks
    assert pool.num_free_among(blocks) == 3
    pool.acquire(blocks)
    assert pool.num_free == 1
    assert pool.num_free_among(blocks) == 0


def test_a_prefix_ends_at_the_first_block_that_is_not_cached() -> None:
    pool, hashes = BlockPool(8), chain(list(range(64)))
    blocks = publish_chain(pool, hashes[:2])
    last = pool.allocate(1)
    pool.publish(last[0], hashes[3])
    assert pool.find_prefix(hashes) == blocks


def test_blocks_without_known_content_are_taken_before_cached_ones() -> None:
    pool, hashes = BlockPool(4), chain(list(range(32)))
    cached, plain = publish_chain(pool, hashes), pool.allocate(2)
    pool.release(plain)
    pool.release(cached)
    assert set(pool.allocate(2)) == set(plain)
    assert pool.find_prefix(hashes) == cached


def test_of_cached_blocks_the_least_recently_released_goes_first_and_a_chain_loses_its_end_first() -> None:
    pool = BlockPool(4)
    old, new = chain(list(range(32))), chain(list(range(100, 132)))
    old_blocks, new_blocks = publish_chain(pool, old), publish_chain(pool, new)
    pool.release(old_blocks)
    pool.release(new_blocks)
    assert pool.allocate(1) == [old_blocks[1]]
    assert pool.find_prefix(old) == old_blocks[:1]
    assert pool.allocate(1) == [old_blocks[0]]
    assert pool.find_prefix(old) == []
    assert pool.find_prefix(new) == new_blocks


def test_using_a_cached_prefix_again_makes_it_the_most_recent() -> None:
    pool = BlockPool(2)
    first, second = chain([1] * 16), chain([2] * 16)
    (a,), (b,) = publish_chain(pool, first), publish_chain(pool, second)
    pool.release([a])
    pool.release([b])
    pool.acquire([a])
    pool.release([a])
    assert pool.allocate(1) == [b]
    assert pool.find_prefix(first) == [a]


def test_a_second_block_of_the_same_content_stays_private_and_leaves_no_trace() -> None:
    pool, hashes = BlockPool(3), chain([1] * 16)
    (first,) = publish_chain(pool, hashes)
    (second,) = publish_chain(pool, hashes)
    assert pool.find_prefix(hashes) == [first]
    pool.release([second])
    assert pool.allocate(2)[-1:] != [first]
    assert pool.find_prefix(hashes) == [first]
    assert pool.num_cached == 1


class PoolMachine(RuleBasedStateMachine):
    """Holders acquire, publish and release blocks in any order; a plain model of who holds what keeps watch."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = BlockPool(6)
        self.tables: list[list[int]] = []
        self.content: dict[int, bytes] = {}

    @rule(count=st.integers(1, 3))
    def allocate(self, count: int) -> None:
        if count <= self.pool.num_free:
            blocks = self.pool.allocate(count)
            assert not {block for table in self.tables for block in table} & set(blocks)
            self.tables.append(blocks)
            for block in blocks:
                self.content.pop(block, None)

    @precondition(lambda self: self.tables)
    @rule(data=st.data(), text=st.integers(0, 3))
    def publish(self, data: st.DataObject, text: int) -> None:
        table = data.draw(st.sampled_from(self.tables))
        hashes = chain([text] * BLOCK_SIZE * len(table))
        for block, block_hash in zip(table, hashes, strict=True):
            known = block in self.content or block_hash in self.content.values()
            self.pool.publish(block, block_hash)
            if not known:
                self.content[block] = block_hash

    @rule(text=st.integers(0, 3))
    def share(self, text: int) -> None:
        hashes = chain([text] * BLOCK_SIZE * 3)
        blocks = self.pool.find_prefix(hashes)
        assert [self.content[block] for block in blocks] == hashes[: len(blocks)]
        if blocks:
            self.pool.acquire(blocks)
            self.tables.append(blocks)

    @precondition(lambda self: self.tables)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        self.pool.release(self.tables.pop(data.draw(st.integers(0, len(self.tables) - 1))))

    @invariant()
    def references_are_the_tables_that_hold_a_block_and_no_held_block_is_free(self) -> None:
        held = Counter(block for table in self.tables for block in table)
        assert self.pool._references == [held[block] for block in range(6)]
        assert self.pool.num_free == 6 - len(held)
        assert self.pool.num_free_among(range(6)) == self.pool.num_free
        assert self.pool.num_cached == len(self.content)


TestPoolMachine = PoolMachine.TestCase
