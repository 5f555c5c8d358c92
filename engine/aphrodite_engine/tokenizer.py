"""Text to token ids and back, one character at a time and never half of one."""

from __future__ import annotations

import codecs
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from tokenizers import Tokenizer as RustTokenizer

from aphrodite_engine.errors import ModelError
from aphrodite_engine.loading.weights import model_file, read_json

#: The largest published tokenizer.json files have some 35 MB.
MAX_TOKENIZER_BYTES = 200_000_000
#: Characters; a text of so many takes some 10 ms.
_LONG_TEXT = 8192
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class Tokenizer:
    """A model folder's tokenizer.

    Attributes:
        added_tokens: ids of tokens outside the tokenizer's own words, by their text; special ones among them.
        special_ids: ids that are left out of text unless asked for.
        eos_token_ids: the end ids that tokenizer_config.json names.
        settings: tokenizer_config.json as read.
        is_byte_level: every token is a string of bytes and text is those bytes joined, as in GPT-2, Llama 3 and Qwen.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        has_settings = (folder / "tokenizer_config.json").exists()
        self.settings = read_json(folder, "tokenizer_config.json") if has_settings else {}
        self._rust = _load(folder)
        self._rust.no_padding()
        self._rust.no_truncation()
        added = self._rust.get_added_tokens_decoder()
        self.added_tokens = {token.content: i for i, token in added.items()}
        self.special_ids = frozenset(i for i, token in added.items() if token.special)
        self.eos_token_ids = tuple(i for i in [self.token_id("eos_token")] if i is not None)
        self.is_byte_level = _is_byte_level(self._rust)
        self._bytes: dict[int, bytes] = {}

    @property
    def vocab_size(self) -> int:
        """Number of ids with a text; the model's own vocabulary may be padded beyond it."""
        return self._rust.get_vocab_size(with_added_tokens=True)

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        """Token ids of `text`; lone surrogates (not encodable as UTF-8) become replacement characters."""
        clean = text
        if not text.isascii():
            clean = text.encode("utf-16-le", errors="surrogatepass").decode("utf-16-le", errors="replace")
        if len(clean) > _LONG_TEXT:
            # A batch of one lets other threads run meanwhile: encode() holds the GIL, 1.3 s for a million characters.
            return self._rust.encode_batch_fast([clean], add_special_tokens=add_special_tokens)[0].ids
        return self._rust.encode(clean, add_special_tokens=add_special_tokens).ids

    def decode(self, token_ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        """Text of `token_ids`; bytes that are not UTF-8 show as replacement characters."""
        return self._rust.decode(list(token_ids), skip_special_tokens=skip_special_tokens)

    def to_json(self) -> str:
        """The whole of it as tokenizer.json has it."""
        return self._rust.to_str()

    def token_text(self, token_id: int) -> str:
        """Text of one token on its own (part of a character shows as replacement characters)."""
        return self.decode([token_id], skip_special_tokens=False)

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes a token of a byte-level tokenizer stands for, also where they are only part of a character."""
        found = self._bytes.get(token_id)
        if found is None:
            found = self._bytes[token_id] = _bytes_of(self._rust.id_to_token(token_id) or "")
        return found

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


class Detokenizer(Protocol):
    """Turns one sequence's ids into text as they come. Joined, the pieces are what `decode` gives for all ids.

    Attributes:
        is_inside: the last id ended within a character, which is held back.
    """

    @property
    def is_inside(self) -> bool: ...

    def add(self, token_id: int) -> str:
        """Text that became certain with this id; "" while a character is incomplete."""
        ...

    def finish(self) -> str:
        """Text still held back: an incomplete character shows as a replacement character."""
        ...

    def mark(self) -> Any:
        """The state now, for `rewind`."""
        ...

    def rewind(self, mark: Any) -> None:
        """Back to where `mark` was taken: what came since was not said."""
        ...


def incremental_detokenizer(tokenizer: Tokenizer, skip_special_tokens: bool) -> Detokenizer:
    """The one that fits the tokenizer."""
    kind = ByteDetokenizer if tokenizer.is_byte_level else WindowDetokenizer
    return kind(tokenizer, skip_special_tokens)


class ByteDetokenizer:
    """For byte-level tokenizers: the same bytes through the same replacement of what is not UTF-8, one id at a time."""

    def __init__(self, tokenizer: Tokenizer, skip_special_tokens: bool) -> None:
        self._tokenizer = tokenizer
        self._skipped = tokenizer.special_ids if skip_special_tokens else frozenset()
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    @property
    def is_inside(self) -> bool:
        return bool(self._utf8.getstate()[0])

    def add(self, token_id: int) -> str:
        return "" if token_id in self._skipped else self._utf8.decode(self._tokenizer.token_bytes(token_id))

    def finish(self) -> str:
        return self._utf8.decode(b"", final=True)

    def mark(self) -> tuple[bytes, int]:
        return self._utf8.getstate()

    def rewind(self, mark: tuple[bytes, int]) -> None:
        self._utf8.setstate(mark)


class WindowDetokenizer:
    """For any tokenizer: what a window of the last ids gives with the new id and gave without it.

    Decoding from `_prefix` instead of the start keeps each step's cost flat, and comparing two decodes of the same
    window keeps tokenizers right whose first token loses its leading space. One thing it cannot know early: tokenizers
    with byte fallback replace a whole run of byte tokens when its end turns out not to be UTF-8, also the part that
    was a character and has been shown.
    """

    def __init__(self, tokenizer: Tokenizer, skip_special_tokens: bool) -> None:
        self._tokenizer, self._skip = tokenizer, skip_special_tokens
        self._ids: list[int] = []
        self._prefix = 0
        self._read = 0
        self.is_inside = False

    def add(self, token_id: int) -> str:
        self._ids.append(token_id)
        before = self._decode(self._ids[self._prefix : self._read])
        after = self._decode(self._ids[self._prefix :])
        self.is_inside = after.endswith(_REPLACEMENT)
        if self.is_inside or len(after) <= len(before):
            return ""
        self._prefix, self._read = self._read, len(self._ids)
        return after[len(before) :]

    def finish(self) -> str:
        before = self._decode(self._ids[self._prefix : self._read])
        after = self._decode(self._ids[self._prefix :])
        self._prefix = self._read = len(self._ids)
        self.is_inside = False
        return after[len(before) :]

    def mark(self) -> tuple[int, int, int, bool]:
        return len(self._ids), self._prefix, self._read, self.is_inside

    def rewind(self, mark: tuple[int, int, int, bool]) -> None:
        length, self._prefix, self._read, self.is_inside = mark
        del self._ids[length:]

    def _decode(self, token_ids: list[int]) -> str:
        return self._tokenizer.decode(token_ids, self._skip) if token_ids else ""


def _load(folder: Path) -> RustTokenizer:
    if not (folder / "tokenizer.json").exists():
        return _convert(folder)
    file = model_file(folder, "tokenizer.json")
    if file.stat().st_size > MAX_TOKENIZER_BYTES:
        raise ModelError(f"{file}: {file.stat().st_size:,} bytes, at most {MAX_TOKENIZER_BYTES:,} are read")
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


def _is_byte_level(rust: RustTokenizer) -> bool:
    decoder = json.loads(rust.to_str()).get("decoder") or {}
    steps = decoder.get("decoders", []) if decoder.get("type") == "Sequence" else [decoder]
    return [step.get("type") for step in steps if step.get("type") != "Fuse"] == ["ByteLevel"]


def _bytes_of(token: str) -> bytes:
    """As the ByteLevel decoder has it: stand-ins for bytes, or, with any other character in it, the text itself."""
    values = [_BYTE_OF.get(char) for char in token]
    return token.encode() if None in values else bytes(value for value in values if value is not None)


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's printable stand-ins for the 256 bytes (byte-level BPE)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAC + 1), *range(0xAE, 0xFF + 1)]
    table = {chr(byte): byte for byte in printable}
    others = [byte for byte in range(256) if byte not in printable]
    return table | {chr(256 + place): byte for place, byte in enumerate(others)}


_BYTE_OF = _byte_alphabet()
