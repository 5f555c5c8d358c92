"""Text to ids and back: nothing is lost, nothing is shown that is half a character."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, decoders, models, normalizers
from tokenizers import Tokenizer as RustTokenizer

from aphrodite_engine import demo
from aphrodite_engine.errors import ModelError
from aphrodite_engine.tokenizer import MAX_TOKENIZER_BYTES, Tokenizer, incremental_detokenizer
from tests.engine.tiny import EOS, byte_tokenizer

DEMO = Tokenizer(demo.path())
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
#: Every id of the bundled model, and some beyond it: a model's vocabulary may be padded.
IDS = st.lists(st.integers(0, DEMO.vocab_size + 5), max_size=40)
#: Ids whose bytes are not ASCII: broken characters in every way.
BROKEN = st.lists(
    st.sampled_from([i for i in range(DEMO.vocab_size) if not DEMO.token_bytes(i).isascii()] + [0, 1]), max_size=40
)


def pieces(tokenizer: Tokenizer, token_ids: Sequence[int], skip_special_tokens: bool = False) -> list[str]:
    detokenizer = incremental_detokenizer(tokenizer, skip_special_tokens)
    return [*(detokenizer.add(token_id) for token_id in token_ids), detokenizer.finish()]


def load(folder: Path, rust: RustTokenizer, **config: object) -> Tokenizer:
    rust.save(str(folder / "tokenizer.json"))
    if config:
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return Tokenizer(folder)


@pytest.fixture(scope="module")
def tiny_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return load(tmp_path_factory.mktemp("bytes"), byte_tokenizer(), eos_token="</s>")


@pytest.fixture(scope="module")
def fallback_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """Like Llama 2's: pieces with a visible space, bytes for what is not in the vocabulary, no leading space."""
    words = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "a", "b", "é", "▁a", "€"]
    rust = RustTokenizer(
        models.BPE(
            vocab={word: place for place, word in enumerate(words)}, merges=[("▁", "a")], byte_fallback=True,
            unk_token="<unk>",
        )
    )  # fmt: skip
    rust.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    rust.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    rust.add_special_tokens([AddedToken("<s>", special=True), AddedToken("</s>", special=True)])
    return load(tmp_path_factory.mktemp("fallback"), rust)


# ---- round trips


@given(TEXTS)
@settings(max_examples=200)
@example("\0")
@example("a\u202eb\u200d\U0001f469\u200d\U0001f680 \u0301")
@example("  leading, trailing, \r\n and <|end|> special  ")
def test_any_text_comes_back_as_it_was(text: str) -> None:
    ids = DEMO.encode(text, add_special_tokens=False)
    assert DEMO.decode(ids, skip_special_tokens=False) == text
    assert "".join(pieces(DEMO, ids)) == text


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb", "\udc00\ud800", "\ud800\ud800x"])
def test_lone_surrogates_become_replacement_characters(text: str) -> None:
    expected = "".join(REPLACEMENT if 0xD800 <= ord(char) < 0xE000 else char for char in text)
    assert DEMO.decode(DEMO.encode(text, add_special_tokens=False)) == expected


def test_a_pair_of_surrogates_becomes_its_character() -> None:
    assert DEMO.decode(DEMO.encode("\ud83d\ude00", add_special_tokens=False)) == "\U0001f600"


def test_special_tokens_are_added_only_when_asked_for() -> None:
    assert DEMO.encode("x")[0] == DEMO.token_id("bos_token")
    assert DEMO.encode("x", add_special_tokens=False) == DEMO.encode("x")[1:]


def test_a_long_text_is_not_cut_though_the_file_asks_for_it(tmp_path: Path) -> None:
    rust = byte_tokenizer()
    rust.enable_truncation(4)
    rust.enable_padding(length=8)
    tokenizer = load(tmp_path, rust)
    assert len(tokenizer.encode("abcdefghij", add_special_tokens=False)) == 10
    assert len(tokenizer.encode("ab", add_special_tokens=False)) == 2


# ---- ids to text, one by one


@given(st.one_of(IDS, BROKEN), st.booleans())
@settings(max_examples=300)
def test_pieces_of_any_ids_join_to_what_decoding_all_of_them_gives(ids: list[int], skip: bool) -> None:
    assert "".join(pieces(DEMO, ids, skip)) == DEMO.decode(ids, skip)


@given(st.binary(max_size=40))
@settings(max_examples=300)
@example(b"\xe2\x82\xac")
@example(b"\xe2\x82a\xac\xed\xa0\x80\xf4\x90\x80\x80\xc0\x80\xff")
def test_pieces_of_any_bytes_join_to_what_decoding_all_of_them_gives(tiny_tokenizer: Tokenizer, data: bytes) -> None:
    ids = ids_of_bytes(tiny_tokenizer, data)
    assert b"".join(tiny_tokenizer.token_bytes(i) for i in ids) == data
    assert "".join(pieces(tiny_tokenizer, ids)) == tiny_tokenizer.decode(ids, False) == data.decode(errors="replace")


@given(TEXTS)
def test_no_piece_begins_or_ends_inside_a_character(tiny_tokenizer: Tokenizer, text: str) -> None:
    shown = pieces(tiny_tokenizer, ids_of_bytes(tiny_tokenizer, text.encode()))
    assert "".join(shown) == text
    if REPLACEMENT not in text:
        assert REPLACEMENT not in "".join(shown)


def test_a_character_shows_with_its_last_byte_and_what_is_certain_shows_at_once(tiny_tokenizer: Tokenizer) -> None:
    shown = pieces(tiny_tokenizer, ids_of_bytes(tiny_tokenizer, "a€".encode() + b"\xe2\x82"))
    assert shown == ["a", "", "", "€", "", "", REPLACEMENT]


def test_broken_bytes_that_can_no_longer_become_a_character_are_not_held_back(tiny_tokenizer: Tokenizer) -> None:
    shown = pieces(tiny_tokenizer, ids_of_bytes(tiny_tokenizer, b"\xff" * 5))
    assert shown == [*[REPLACEMENT] * 5, ""]


def test_special_tokens_are_left_out_of_the_text_unless_asked_for(tiny_tokenizer: Tokenizer) -> None:
    ids = [*ids_of_bytes(tiny_tokenizer, b"a\xe2"), EOS, *ids_of_bytes(tiny_tokenizer, b"\x82\xac")]
    assert "".join(pieces(tiny_tokenizer, ids, skip_special_tokens=True)) == "a€"
    assert "".join(pieces(tiny_tokenizer, ids)) == tiny_tokenizer.decode(ids, False)


@given(st.lists(st.integers(0, 263), max_size=30), st.booleans())
@settings(max_examples=300)
def test_byte_fallback_pieces_join_to_the_whole_where_the_whole_is_text(
    fallback_tokenizer: Tokenizer, ids: list[int], skip: bool
) -> None:
    whole, shown = fallback_tokenizer.decode(ids, skip), "".join(pieces(fallback_tokenizer, ids, skip))
    assert shown == whole or REPLACEMENT in whole


@given(st.text("ab é€ü\n\U0001f600", max_size=20))
def test_byte_fallback_text_comes_back_without_a_stray_character(fallback_tokenizer: Tokenizer, text: str) -> None:
    assert "".join(pieces(fallback_tokenizer, fallback_tokenizer.encode(text, add_special_tokens=False))) == text


def test_the_text_of_one_token_shows_part_of_a_character_as_a_replacement(tiny_tokenizer: Tokenizer) -> None:
    assert tiny_tokenizer.token_text(ids_of_bytes(tiny_tokenizer, b"\xe2")[0]) == REPLACEMENT
    assert tiny_tokenizer.token_text(EOS) == "</s>"


def ids_of_bytes(tokenizer: Tokenizer, data: bytes) -> list[int]:
    """In the byte tokenizer every byte is a token."""
    place = {tokenizer.token_bytes(i): i for i in range(256)}
    return [place[bytes([byte])] for byte in data]


# ---- folders


def test_named_tokens_may_be_written_as_strings_or_objects(tmp_path: Path) -> None:
    names = {"eos_token": {"content": "</s>", "lstrip": False}, "bos_token": "<s>", "pad_token": 3}
    tokenizer = load(tmp_path, byte_tokenizer(), **names)
    assert tokenizer.eos_token_ids == (EOS,)
    assert (tokenizer.special_token("bos_token"), tokenizer.special_token("pad_token")) == ("<s>", None)
    assert tokenizer.token_id("unk_token") is None


def test_a_folder_with_no_tokenizer_config_has_no_named_tokens(tmp_path: Path) -> None:
    assert load(tmp_path, byte_tokenizer()).eos_token_ids == ()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"version": "1.0"}', "\0", "null"])
def test_a_damaged_tokenizer_is_a_model_error_that_names_the_file(tmp_path: Path, content: str) -> None:
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(ModelError, match=r"tokenizer\.json"):
        Tokenizer(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", "[" * 100_000])
def test_a_damaged_tokenizer_config_is_a_model_error_that_names_the_file(tmp_path: Path, content: str) -> None:
    byte_tokenizer().save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text(content)
    with pytest.raises(ModelError, match=r"tokenizer_config\.json"):
        Tokenizer(tmp_path)


def test_a_tokenizer_of_absurd_size_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / "tokenizer.json").open("wb") as file:
        file.truncate(MAX_TOKENIZER_BYTES + 1)
    with pytest.raises(ModelError, match="200,000,001 bytes"):
        Tokenizer(tmp_path)


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
def test_a_link_that_leaves_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "model"
    folder.mkdir()
    byte_tokenizer().save(str(folder / "tokenizer.json"))
    outside.write_text("{}")
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(outside)
    with pytest.raises(ModelError, match="outside the model folder"):
        Tokenizer(folder)


def test_a_folder_without_any_tokenizer_is_a_model_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no tokenizer"):
        Tokenizer(tmp_path)


def test_a_long_text_is_the_same_ids_and_lets_other_threads_run() -> None:
    text = "the fox, naïve 🦊 42 " * 30_000
    encoded = threading.Event()
    turns = 0

    def count_turns() -> None:
        nonlocal turns
        while not encoded.wait(0.002):
            turns += 1

    counting = threading.Thread(target=count_turns)
    counting.start()
    ids = DEMO.encode(text)
    encoded.set()
    counting.join()
    assert turns > 10  # 0 or 1 where the interpreter's lock is held
    assert ids == DEMO._rust.encode(text).ids
