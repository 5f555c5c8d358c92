"""argparse that answers mistakes in one line, for the shell and for notebooks."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Mapping, Sequence
from typing import ClassVar, NoReturn


class OneLineParser(argparse.ArgumentParser):
    """Without the usage dump on errors, and with the nearest flag named when one is unknown.

    Attributes:
        mistake: the error that whoever shows it understands.
    """

    mistake: ClassVar[type[Exception]] = ValueError

    def error(self, message: str) -> NoReturn:
        raise self.mistake(f"{message} (see {self.prog} --help)")

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        """Parse all words; what nobody knows is a mistake."""
        arguments, unknown = self.parse_known_args(words)
        if unknown:
            flag = next((word for word in unknown if word.startswith("-")), None)
            if flag is None:
                self.error(f"unexpected argument {unknown[0]!r}")
            name = flag.split("=", 1)[0]
            self.error(f"no such flag {name}{nearest(name, list(self.flags()))}")
        return arguments

    def flags(self) -> Mapping[str, argparse.Action]:
        """Every flag in all its spellings."""
        return self._option_string_actions

    def places(self) -> list[argparse.Action]:
        """The arguments without a name, in their order."""
        return self._get_positional_actions()


def nearest(word: str, known: Sequence[str]) -> str:
    """'; did you mean ...?' when one of the known words is close, else nothing."""
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""
