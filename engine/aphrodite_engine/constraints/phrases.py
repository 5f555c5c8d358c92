"""Phrases that must not come: what of a text may be shown, and which token to take back where one is complete."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Generic, TypeVar

Token = TypeVar("Token")


@dataclass(frozen=True)
class _Piece(Generic[Token]):
    """A token that may still be taken back.

    Attributes:
        begins_inside: the token goes on with a character that an earlier one began.
    """

    token: Token
    text: str
    begins_inside: bool


class PhraseWatch(Generic[Token]):
    """Watches one sequence's text, token by token; a token is held while a phrase may begin in it.

    What was released stands for good. Behind a token that was taken back it may become the beginning of a phrase after
    all: such a phrase is broken at the first token that is held. Upper and lower case are the same. `Token` is whatever
    the caller keeps of one.
    """

    def __init__(self, phrases: Sequence[str]) -> None:
        self._phrases = sorted({folded(phrase) for phrase in phrases})
        self._longest = max(map(len, self._phrases))
        self._standing = ""
        self._pieces: list[_Piece[Token]] = []
        self._ends_inside = False

    def give(self, text: str) -> None:
        """Text that stands from the start, before all tokens."""
        self._stand(folded(text))

    def add(self, token: Token, text: str, *, begins_inside: bool = False, ends_inside: bool = False) -> Token | None:
        """Hold one more token. Where that completes a phrase, forget the token in which it begins and all behind it.

        Args:
            text: whole characters only.
            begins_inside, ends_inside: the token starts, or stops, within a character.

        Returns:
            The token to take back.
        """
        before = self._text
        self._pieces.append(_Piece(token, folded(text), begins_inside))
        self._ends_inside = ends_inside
        start = self._start_of_a_phrase(self._text, len(before))
        if start is None:
            return None
        place = self._place_of(start)
        taken_back = self._pieces[place].token
        del self._pieces[place:]
        return taken_back

    def release(self) -> list[Token]:
        """Tokens that no phrase can begin with any more, in order."""
        text = self._text
        held = self._longest_possible_start(text)
        count = self._place_of(len(text) - held) if held else self._whole_pieces()
        return self._pop(count)

    def finish(self) -> list[Token]:
        """All tokens still held, in order: no phrase came."""
        return self._pop(len(self._pieces))

    @property
    def _text(self) -> str:
        return self._standing + "".join(piece.text for piece in self._pieces)

    def _stand(self, text: str) -> None:
        kept = self._standing + text
        self._standing = kept[max(0, len(kept) - self._longest + 1) :]

    def _pop(self, count: int) -> list[Token]:
        released = self._pieces[:count]
        del self._pieces[:count]
        self._stand("".join(piece.text for piece in released))
        return [piece.token for piece in released]

    def _start_of_a_phrase(self, text: str, known: int) -> int | None:
        """Where the phrase begins that ends first behind `known`; of two that end together, the longer."""
        places = [(text.find(phrase, max(0, known - len(phrase) + 1)), len(phrase)) for phrase in self._phrases]
        found = [(start + length, start) for start, length in places if start >= 0]
        return min(found)[1] if found else None

    def _longest_possible_start(self, text: str) -> int:
        """Length of the longest end of `text` that begins some phrase without being all of it."""
        for length in range(min(len(text), self._longest - 1), 0, -1):
            end = text[len(text) - length :]
            following = bisect.bisect_right(self._phrases, end)
            if following < len(self._phrases) and self._phrases[following].startswith(end):
                return length
        return 0

    def _place_of(self, start: int) -> int:
        """Of the token in which the character begins; the first one where the character stands for good."""
        offset = len(self._standing)
        for place, piece in enumerate(self._pieces):
            offset += len(piece.text)
            if start < offset:
                is_first = start <= offset - len(piece.text)
                return self._beginning(place) if is_first else place
        raise IndexError(start)

    def _beginning(self, place: int) -> int:
        while place and self._pieces[place].begins_inside:
            place -= 1
        return place

    def _whole_pieces(self) -> int:
        """How many tokens come before those of a character that is incomplete."""
        return self._beginning(len(self._pieces) - 1) if self._ends_inside else len(self._pieces)


def folded(text: str) -> str:
    """In lower case, character by character, so that places stay what they are."""
    return text.lower() if text.isascii() else "".join(map(_folded, text))


@cache
def _folded(char: str) -> str:
    return next(form for form in (char.casefold(), char.lower(), char) if len(form) == 1)
