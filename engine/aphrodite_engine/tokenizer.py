"""Text to token ids and back, one character at a time and never half of one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as RustTokenizer

from aphrodite_engine.errors import ModelError

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class Tokenizer:
    """A model folder's tokenizer.

    Attributes:
        special_ids: ids that are left out of text unless asked for.
        eos_token_ids: the end ids that tokenizer_config.json names.
        settings: tokenizer_config.json as read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = _read_json(folder / "tokenizer_config.json")
        self._rust = _load(folder)
        self._rust.no_padding()
        self._rust.no_truncation()
        added = self._rust.get_added_tokens_decoder()
        self.special_ids = frozenset(i for i, token in added.items() if token.special)
        self.eos_token_ids = tuple(i for i in [self.token_id("eos_token")] if i is not None)
        self._byte_level = _is_byte_level(self._rust)

    @property
    def vocab_size(self) -> int:
        """Number of ids with a text; the model's own vocabulary may be padded beyond it."""
        return self._rust.get_vocab_size(with_added_tokens=True)

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        """Token ids of `text`; lone surrogates (not encodable as UTF-8) become replacement characters."""
        clean = text.encode("utf-8", errors="replace").decode("utf-8") if not text.isascii() else text
        return self._rust.encode(clean, add_special_tokens=add_special_tokens).ids

    def decode(self, token_ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        """Text of `token_ids`; bytes that are not UTF-8 show as replacement characters."""
        return self._rust.decode(list(token_ids), skip_special_tokens=skip_special_tokens)

    def token_text(self, token_id: int) -> str:
        """Text of one token on its own (part of a character shows as replacement characters)."""
        return self.decode([token_id], skip_special_tokens=False)

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes a token stands for, also where they are only part of a character."""
        token = self._rust.id_to_token(token_id) or ""
        if token_id not in self.special_ids:
            if self._byte_level:
                return bytes(_BYTE_OF.get(char, ord("?")) for char in token)
            if len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
                return bytes([int(token[3:5], 16)])
            token = token.replace("\N{LOWER ONE EIGHTH BLOCK}", " ")
        return token.encode()

    def token_id(self, name: str) -> int | None:
        """Id of a named special token of tokenizer_config.json ("eos_token", "bos_token", ...)."""
        token = self.special_token(name)
        return None if token is None else self._rust.token_to_id(token)

    def special_token(self, name: str) -> str | None:
        """Text of a named special token."""
        value: Any = self.settings.get(name)
        if isinstance(value, dict):
            value = value.get("content")
        return value if isinstance(value, str) else None


class IncrementalDetokenizer:
    """Turns ids into text as they come. Joined, the pieces are what `decode` gives for all ids.

    Source of the window: decoding from `_prefix` instead of the start keeps each step's cost flat, and comparing two
    decodes of the same window keeps tokenizers right whose first token loses its leading space.
    """

    def __init__(self, tokenizer: Tokenizer, skip_special_tokens: bool) -> None:
        self._tokenizer, self._skip = tokenizer, skip_special_tokens
        self._ids: list[int] = []
        self._prefix = 0
        self._read = 0

    def add(self, token_id: int) -> str:
        """Text that became certain with this id; "" while a character is incomplete."""
        self._ids.append(token_id)
        before = self._decode(self._ids[self._prefix : self._read])
        after = self._decode(self._ids[self._prefix :])
        if after.endswith(_REPLACEMENT) or len(after) <= len(before):
            return ""
        self._prefix, self._read = self._read, len(self._ids)
        return after[len(before) :]

    def finish(self) -> str:
        """Text still held back: an incomplete character shows as replacement characters."""
        before = self._decode(self._ids[self._prefix : self._read])
        after = self._decode(self._ids[self._prefix :])
        self._prefix = self._read = len(self._ids)
        return after[len(before) :]

    def _decode(self, token_ids: list[int]) -> str:
        return self._tokenizer.decode(token_ids, self._skip) if token_ids else ""


def _load(folder: Path) -> RustTokenizer:
    file = folder / "tokenizer.json"
    if not file.exists():
        return _convert(folder)
    try:
        return RustTokenizer.from_file(str(file))
    except Exception as error:  # tokenizers raises bare Exception for a damaged file
        raise ModelError(f"{file} is not a tokenizer: {error}") from error


def _convert(folder: Path) -> RustTokenizer:
    """Older folders carry a slow tokenizer only; transformers knows how to turn it into a fast one."""
    from transformers import AutoTokenizer

    try:
        slow = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, ImportError) as error:
        raise ModelError(f"{folder} has no tokenizer.json and no tokenizer transformers can read: {error}") from error
    rust = getattr(slow, "backend_tokenizer", None)
    if not isinstance(rust, RustTokenizer):
        raise ModelError(f"{folder}: {type(slow).__name__} has no fast form; save a tokenizer.json with it")
    return rust


def _read_json(file: Path) -> dict[str, Any]:
    if not file.exists():
        return {}
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{file} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ModelError(f"{file} must hold a JSON object, not {type(value).__name__}")
    return value


def _is_byte_level(rust: RustTokenizer) -> bool:
    decoder = json.loads(rust.to_str()).get("decoder") or {}
    return decoder.get("type") == "ByteLevel" or any(d.get("type") == "ByteLevel" for d in decoder.get("decoders", []))


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's printable stand-ins for the 256 bytes (byte-level BPE)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAC + 1), *range(0xAE, 0xFF + 1)]
    table = {chr(byte): byte for byte in printable}
    others = [byte for byte in range(256) if byte not in printable]
    return table | {chr(256 + place): byte for place, byte in enumerate(others)}


_BYTE_OF = _byte_alphabet()
