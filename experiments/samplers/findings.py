"""What the study found, as it is stored, and the numbers that follow from it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from experiments.samplers.measures import paired_error
from experiments.samplers.settings import SKILLS, Sizes

#: Of one setting; `study.Study.measure` makes it.
Result = dict[str, Any]


@dataclass(frozen=True)
class Difference:
    """Of two shares on the same items and seeds, in points of 1, with its standard error."""

    points: float
    error: float
    changed: int


@dataclass(frozen=True)
class Findings:
    """All results.

    Attributes:
        results: neutral first.
        measured_on: the kind of processor, and torch's version.
    """

    sizes: Sizes
    results: Sequence[Result]
    measured_on: str

    @classmethod
    def load(cls, file: Path) -> Findings:
        found = json.loads(file.read_text())
        return cls(Sizes(**found["sizes"]), found["results"], found["measured_on"])

    def save(self, file: Path) -> None:
        """One result a line, so that a change can be read."""
        file.parent.mkdir(parents=True, exist_ok=True)
        lines = ",\n".join(json.dumps(result) for result in self.results)
        head = f'"measured_on": {json.dumps(self.measured_on)},\n"sizes": {json.dumps(vars(self.sizes))}'
        file.write_text(f'{{{head},\n"results": [\n{lines}\n]}}\n')

    @property
    def families(self) -> Iterator[tuple[str, list[Result]]]:
        for name, some in groupby(self.results, key=lambda result: result["family"]):
            yield name, list(some)

    @property
    def items(self) -> int:
        """Questions under one setting, all skills together."""
        return self.sizes.questions * len(SKILLS)

    def exact(self, result: Result) -> float:
        """Share of answers that are right to the letter; every skill counts alike."""
        return count(result, "right") / self.items

    def difference(self, result: Result) -> Difference:
        """Of the exact share to neutral's."""
        won, lost = count(result, "won"), count(result, "lost")
        return Difference((won - lost) / self.items, paired_error(won, lost, self.items), won + lost)


def count(result: Result, kind: str) -> int:
    """Answers over all skills that are `right`, or `won` or `lost` beside neutral's."""
    return sum(marks[kind] for marks in result["skills"].values())
