"""A digest of a model folder that changes with what is in it, cheap enough for every load.

Names, shapes, places and types of all tensors count, and the whole of every other file that the engine reads. Of a
tensor up to 32 KiB every byte counts; of a larger one eight blocks of 4 KiB, evenly spread from its first byte to its
last. Training and merging change nearly every number of a tensor, so that none of the blocks stays as it was; a single
changed number somewhere in a large tensor may go unseen. Of 1 GB in 270 tensors all bytes take 2 s, the blocks 30 ms.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from aphrodite_engine.loading.weights import TensorEntry, model_file, open_checkpoint

BLOCK_BYTES = 4096
NUM_BLOCKS = 8

#: Files beside the weights that change what a request gives.
_FILES = (
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json", "vocab.json", "vocab.txt", "merges.txt", "tokenizer.model", "chat_template.jinja",
)  # fmt: skip


def weights_digest(folder: Path) -> str:
    """16 hexadecimal digits."""
    digest = hashlib.blake2b(digest_size=8)
    code = sorted(path.name for path in folder.glob("*.py"))  # what trust_remote_code runs
    for name in (*_FILES, *code):
        if (folder / name).exists():
            digest.update(name.encode() + b"\0" + hashlib.blake2b(model_file(folder, name).read_bytes()).digest())
    tensors = open_checkpoint(folder).tensors
    files: dict[Path, list[tuple[str, TensorEntry]]] = {}
    for name in sorted(tensors):
        files.setdefault(tensors[name].file, []).append((name, tensors[name]))
    for path, entries in files.items():
        with path.open("rb", buffering=0) as file:
            for name, entry in entries:
                digest.update(f"{name}\0{entry.dtype}\0{entry.shape}\0{entry.num_bytes}\0".encode())
                for block in _blocks(file, entry):
                    digest.update(block)
    return digest.hexdigest()


def _blocks(file: BinaryIO, entry: TensorEntry) -> Iterator[bytes]:
    if entry.num_bytes <= NUM_BLOCKS * BLOCK_BYTES:
        file.seek(entry.start)
        yield file.read(entry.num_bytes)
        return
    last = entry.stop - BLOCK_BYTES
    for number in range(NUM_BLOCKS):
        file.seek(entry.start + (last - entry.start) * number // (NUM_BLOCKS - 1))
        yield file.read(BLOCK_BYTES)
