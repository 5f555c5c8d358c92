"""No speed on a red gate: who is timed first shows that it computes the same."""

from __future__ import annotations

from collections.abc import Sequence

from peers import Contestant
from workloads import Job, greedy


class RedGate(SystemExit):
    """An output is wrong; the process ends with status 1 and this message."""

    def __init__(self, message: str) -> None:
        super().__init__(f"red gate: {message}")


def same_greedy_tokens(reference: Contestant, contestants: dict[str, Contestant]) -> None:
    """Greedy tokens of some short prompts equal the reference's."""
    jobs = greedy()
    expected = [reference.generate([job])[0] for job in jobs]
    for name, contestant in contestants.items():
        got = contestant.generate(jobs)
        if got != expected:
            raise RedGate(f"{name} gives {_first_difference(got, expected)}")


def right_lengths(name: str, tokens: Sequence[Sequence[int]], jobs: Sequence[Job]) -> None:
    """Every job got exactly the tokens that it asked for, since ends of sequence are ignored."""
    lengths = [len(row) for row in tokens]
    if lengths != [job.max_tokens for job in jobs]:
        raise RedGate(f"{name} gave {sum(lengths)} tokens, {sum(job.max_tokens for job in jobs)} were asked for")


def _first_difference(got: Sequence[Sequence[int]], expected: Sequence[Sequence[int]]) -> str:
    for row, (a, b) in enumerate(zip(got, expected, strict=True)):
        for place, (x, y) in enumerate(zip(a, b, strict=False)):
            if x != y:
                return f"token {x} where transformers gives {y} (prompt {row}, new token {place})"
    return "another number of tokens than transformers"
