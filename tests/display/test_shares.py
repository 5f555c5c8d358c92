"""Every token gets its part of the text, and nothing of the text is lost or said twice."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aphrodite.display.shares import Shares

PIECES = [bytes([byte]) for byte in range(256)] + [b" the", b"ab", b" \xf0", b"\xf0\x9f", b"\n\n", b"<end>"]


def dealt(tokens: list[str], text: str) -> list[str]:
    shares = Shares()
    shares.add(tokens, text, is_whole=True)
    return shares.of


def test_a_character_of_several_tokens_is_its_last_token_s() -> None:
    fox = ["\ufffd"] * 4
    assert dealt(["Pip", " ", *fox, " said"], "Pip 🦊 said") == ["Pip", " ", "", "", "", "🦊", " said"]
    assert dealt(["\ufffd"] * 5 + ["hi"], "—éhi") == ["", "", "—", "", "é", "hi"]


def test_a_mark_has_no_share_in_a_text_that_leaves_it_out() -> None:
    assert dealt(["<b>", "87", "<end>"], "87") == ["", "87", ""]
    assert dealt(["<b>", "87", "<end>"], "<b>87<end>") == ["<b>", "87", "<end>"]


def test_a_stop_string_cuts_the_last_token_short() -> None:
    assert dealt(["The", " end."], "The end") == ["The", " end"]


def test_a_word_that_alone_loses_its_space_keeps_it_in_the_text() -> None:
    assert dealt(["Once", "upon"], "Once upon") == ["Once", " upon"]


@given(st.lists(st.sampled_from(PIECES), max_size=12), st.integers(0, 3))
def test_joined_shares_are_the_text_s_beginning(pieces: list[bytes], cut: int) -> None:
    tokens = [piece.decode(errors="replace") for piece in pieces]
    text = b"".join(pieces).decode(errors="replace")
    text = text[: len(text) - cut]
    shares = Shares()
    shares.add(tokens, text, is_whole=True)
    assert len(shares.of) == len(tokens) and "".join(shares.of) == text[: shares.end]


@given(st.lists(st.sampled_from(["Once", " upon", " ", "🦊", "é", "ab", "\n"]), min_size=1, max_size=8))
def test_a_growing_text_is_dealt_as_the_whole_one_is(words: list[str]) -> None:
    """Byte by byte where a character is not ASCII, as byte-level tokenizers do."""
    pieces = [bytes([b]) for w in words for b in w.encode()] if any(not w.isascii() for w in words) else None
    parts = pieces or [word.encode() for word in words]
    tokens, text, growing = [part.decode(errors="replace") for part in parts], "".join(words), Shares()
    for count in range(1, len(parts) + 1):
        so_far = b"".join(parts[:count]).decode(errors="ignore")
        growing.add(tokens[:count], so_far, is_whole=False)
        assert "".join(growing.of) == so_far[: growing.end]
    growing.add(tokens, text, is_whole=True)
    assert growing.of == dealt(tokens, text) and "".join(growing.of) == text
