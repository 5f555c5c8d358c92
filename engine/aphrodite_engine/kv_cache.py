"""Which KV blocks exist, who holds them, and which already hold a known prefix."""

from __future__ import annotations

import hashlib
from array import array
from collections import OrderedDict
from collections.abc import Sequence

BLOCK_SIZE = 16


def root_hash(model_key: str, salt: str, steering: bytes = b"") -> bytes:
    """Start of a hash chain: two requests share blocks only under the same model, the same tenant salt and the same
    steering, of which a digest is given (none where nothing steers)."""
    root = f"{model_key}\0{salt}".encode(errors="surrogatepass")
    return hashlib.blake2b(root, key=steering, digest_size=16).digest()


def extend_hashes(hashes: list[bytes], root: bytes, token_ids: Sequence[int], block_size: int = BLOCK_SIZE) -> None:
    """Append the hash of every full block of `token_ids` that `hashes` does not cover yet.

    Each hash covers its parent's hash and the block's tokens, so it names the whole prefix up to there.
    """
    for start in range(len(hashes) * block_size, len(token_ids) - block_size + 1, block_size):
        parent = hashes[-1] if hashes else root
        tokens = array("q", token_ids[start : start + block_size]).tobytes()
        hashes.append(hashlib.blake2b(parent + tokens, digest_size=16).digest())


class BlockPool:
    """Reference-counted blocks; those nobody holds keep their content until they are needed (least recent first)."""

    def __init__(self, num_blocks: int) -> None:
        self.num_blocks = num_blocks
        self._references = [0] * num_blocks
        self._hash_of: list[bytes | None] = [None] * num_blocks
        self._block_of: dict[bytes, int] = {}
        self._free: OrderedDict[int, None] = OrderedDict.fromkeys(range(num_blocks))

    @property
    def num_free(self) -> int:
        return len(self._free)

    @property
    def num_cached(self) -> int:
        """Blocks whose content is known by hash, held or not."""
        return len(self._block_of)

    def find_prefix(self, hashes: Sequence[bytes]) -> list[int]:
        """Blocks of the longest cached prefix of the chain `hashes`; they are not acquired yet."""
        blocks: list[int] = []
        for block_hash in hashes:
            block = self._block_of.get(block_hash)
            if block is None:
                break
            blocks.append(block)
        return blocks

    def num_free_among(self, blocks: Sequence[int]) -> int:
        """How many of `blocks` would leave the free list if acquired."""
        return sum(self._references[block] == 0 for block in blocks)

    def acquire(self, blocks: Sequence[int]) -> None:
        """Hold blocks that find_prefix returned."""
        for block in blocks:
            if self._references[block] == 0:
                del self._free[block]
            self._references[block] += 1

    def allocate(self, count: int) -> list[int]:
        """Take `count` blocks, forgetting the least recently used cached content; the caller checked num_free."""
        blocks = [self._free.popitem(last=False)[0] for _ in range(count)]
        for block in blocks:
            block_hash = self._hash_of[block]
            if block_hash is not None:
                del self._block_of[block_hash]
                self._hash_of[block] = None
            self._references[block] = 1
        return blocks

    def release(self, blocks: Sequence[int]) -> None:
        """Give blocks back. The end of a sequence becomes least recent, since prefixes are worth more."""
        for block in reversed(blocks):
            self._references[block] -= 1
            if self._references[block] == 0:
                self._free[block] = None
                if self._hash_of[block] is None:
                    self._free.move_to_end(block, last=False)

    def publish(self, block: int, block_hash: bytes) -> None:
        """Make a held, completely written block findable; a second block of the same content stays private."""
        if block_hash not in self._block_of and self._hash_of[block] is None:
            self._hash_of[block] = block_hash
            self._block_of[block_hash] = block
