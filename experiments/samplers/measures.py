"""Numbers of a set of texts: how many different words they use, how alike they are, whether they go in circles."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import combinations

Words = Sequence[str]
Gram = tuple[str, ...]

#: A loop is a run of at most so many words, so many times in a row at the end of a text.
_LONGEST_LOOP, _ROUNDS = 24, 3


def words_of(text: str) -> list[str]:
    """Words and punctuation marks."""
    return re.findall(r"\w+|[^\w\s]", text)


def grams(words: Words, n: int) -> list[Gram]:
    """Every run of n words."""
    return [tuple(words[at : at + n]) for at in range(len(words) - n + 1)]


def distinct(texts: Sequence[Words], n: int) -> float:
    """Different n-grams among all n-grams of all texts (arXiv 1510.03055); it falls with the number of texts."""
    every = [gram for words in texts for gram in grams(words, n)]
    return len(set(every)) / max(1, len(every))


def overlap(texts: Sequence[Words], n: int = 3) -> float:
    """Mean over all pairs of texts of the share of their n-grams that both have (Jaccard); 1 is all the same."""
    sets = [frozenset(grams(words, n)) for words in texts]
    shares = [len(one & other) / max(1, len(one | other)) for one, other in combinations(sets, 2)]
    return sum(shares) / max(1, len(shares))


def repeated(texts: Sequence[tuple[Words, Words]], n: int = 4) -> float:
    """Share of the texts' n-grams that came before, in (the prompt or) the text itself; texts are (prompt, output)."""
    again = total = 0
    for prompt, output in texts:
        seen = set(grams(prompt, n))
        for gram in grams([*prompt[len(prompt) - n + 1 :], *output], n):
            again += gram in seen
            total += 1
            seen.add(gram)
    return again / max(1, total)


def ends_in_a_loop(words: Words) -> bool:
    """The text ends with the same run of words three times."""
    longest = min(_LONGEST_LOOP, len(words) // _ROUNDS)
    return any(_goes_round(words[len(words) - _ROUNDS * size :], size) for size in range(1, longest + 1))


def _goes_round(words: Words, size: int) -> bool:
    return all(word == words[at % size] for at, word in enumerate(words))


def proportion_error(right: int, items: int) -> float:
    """Standard error of a share: sqrt(p (1 - p) / n). At 0 and n, of half an item more or less: it is not 0."""
    share = min(max(right, 0.5), items - 0.5) / items
    return math.sqrt(share * (1 - share) / items)


def paired_error(won: int, lost: int, items: int) -> float:
    """Standard error of the difference of two shares on the same items, of which `won` and `lost` changed."""
    return math.sqrt(max(1.0, won + lost - (won - lost) ** 2 / items)) / items
