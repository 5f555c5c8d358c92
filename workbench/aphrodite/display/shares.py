"""Which part of a text is each token's."""

from __future__ import annotations

from collections.abc import Sequence

_PART = "\N{REPLACEMENT CHARACTER}"


class Shares:
    """Deals a text out to its tokens, in order, also while both grow; joined, the shares are the text so far.

    A token's own text is not always its share: several tokens may make one character (the last of them gets it), a
    mark such as the end of a turn has no text, a stop string cuts the last token short, and some tokenizers show a
    word alone without its leading space.

    Attributes:
        of: the share of each token that is decided.
        end: where in the text the next share begins.
    """

    def __init__(self) -> None:
        self.of: list[str] = []
        self.end = 0

    def add(self, tokens: Sequence[str], text: str, is_whole: bool) -> None:
        """Decide as far as it can be known; until the text is whole, that may leave the last tokens open.

        Args:
            tokens: the text of each token alone.
        """
        while len(self.of) < len(tokens):
            token = tokens[len(self.of)]
            shares = self._parts(tokens, text, is_whole) if _PART in token else self._word(token, text, is_whole)
            if shares is None:
                return
            self.of += shares
            self.end += sum(map(len, shares))

    def _word(self, token: str, text: str, is_whole: bool) -> list[str] | None:
        lead = 1 if not text.startswith(token, self.end) and text[self.end : self.end + 1].isspace() else 0
        if text.startswith(token, self.end + lead):
            return [text[self.end : self.end + lead + len(token)]]
        rest = text[self.end :]
        if not token.startswith((rest, rest[lead:])):
            return [""]  # a mark, which texts leave out
        return [rest] if is_whole else None

    def _parts(self, tokens: Sequence[str], text: str, is_whole: bool) -> list[str] | None:
        start = stop = len(self.of)
        while stop < len(tokens) and _PART in tokens[stop]:
            stop += 1
        at = _first(tokens[stop:], text, _after(text, self.end, stop - start))
        if at is None and not is_whole:
            return None
        return _dealt(text[self.end : at], stop - start)


def _after(text: str, start: int, count: int) -> int:
    """The end of so many bytes of a text, at the least: a part of a character is a byte or more."""
    while count > 0 and start < len(text):
        count -= 1 if text[start] == _PART else len(text[start].encode(errors="replace"))
        start += 1
    return start


def _first(tokens: Sequence[str], text: str, start: int) -> int | None:
    """Where the first of the tokens that the text holds begins."""
    return next((at for token in tokens if token and _PART not in token and (at := text.find(token, start)) >= 0), None)


def _dealt(text: str, count: int) -> list[str]:
    """Each character to the token with its last byte where every token is one byte; else all to the last."""
    sizes = [len(char.encode(errors="replace")) for char in text]
    if sum(sizes) != count:
        return [*[""] * (count - 1), text]
    return [share for char, size in zip(text, sizes, strict=True) for share in (*[""] * (size - 1), char)]
