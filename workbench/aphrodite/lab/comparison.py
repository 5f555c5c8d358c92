"""Two generations side by side: where they part, and how likely each held what the other said."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from difflib import SequenceMatcher
from itertools import zip_longest
from typing import TYPE_CHECKING, Literal

from aphrodite.display.generation import Generation
from aphrodite.lab import comparison_html
from aphrodite.lab.told import Session, Told, whom_to_ask
from aphrodite_engine.errors import ParameterError
from aphrodite_engine.outputs import GenerationResult
from aphrodite_engine.visible import visible

if TYPE_CHECKING:  # pandas and plotly take half a second that only `.df` and `.figure()` pay
    import pandas as pd
    import plotly.graph_objects as go

Op = Literal["equal", "replace", "delete", "insert"]
_Pair = tuple[Op, int | None, int | None]


@dataclass(frozen=True)
class Aligned:
    """One column of two aligned sequences. What one of them lacks is None.

    Attributes:
        op: what makes b of a: "equal", "replace", "delete" (only a has it), "insert" (only b has it).
        probability_a: of a's token, by the model of a itself, before any step of sampling.
        probability_a_of_b: which a gave the token that b has at the same position. Known as long as both have read the
            same: up to and with the first divergence.
    """

    op: Op
    position_a: int | None
    token_id_a: int | None
    token_a: str | None
    probability_a: float | None
    probability_a_of_b: float | None
    position_b: int | None
    token_id_b: int | None
    token_b: str | None
    probability_b: float | None
    probability_b_of_a: float | None


@dataclass(frozen=True)
class Comparison:
    """Two sequences of tokens, aligned.

    Attributes:
        rows: the columns of the alignment, in order.
        first_divergence: the first position at which they differ, or at which only one goes on; None where they are
            the same.
        same_prompt: whether both read the same prompt; without it no probability of one speaks of the other's tokens.
    """

    rows: tuple[Aligned, ...]
    first_divergence: int | None
    same_prompt: bool

    @property
    def same(self) -> bool:
        """Whether both are the same tokens."""
        return self.first_divergence is None

    @property
    def df(self) -> pd.DataFrame:
        """One row a column of the alignment, with the fields of Aligned."""
        import pandas as pd

        whole = dict.fromkeys(("position_a", "token_id_a", "position_b", "token_id_b"), "Int64")
        return pd.DataFrame([asdict(row) for row in self.rows], columns=list(Aligned.__annotations__)).astype(whole)

    def figure(self) -> go.Figure:
        """Two strips of tokens, shaded by their probability."""
        from aphrodite.lab import plots

        return plots.comparison(self.df)

    def __repr__(self) -> str:
        return "\n".join([self.summary, *(_line(row) for row in self.rows if row.op != "equal")])

    def _repr_html_(self) -> str:
        return comparison_html.html(self.summary, self.rows)

    @property
    def summary(self) -> str:
        """One sentence: whether and where they part, and what each held of the other's token there."""
        if self.first_divergence is None:
            return f"the same {len(self.rows)} tokens"
        at = self.first_divergence
        parts = (self._at(side, at) for side in ("a", "b"))
        return f"first difference at token {at}: {'; '.join(parts)}"

    def _at(self, side: Literal["a", "b"], at: int) -> str:
        found = next((row for row in self.rows if getattr(row, f"position_{side}") == at), None)
        if found is None:
            return f"{side} has ended"
        other = "b" if side == "a" else "a"
        own, cross = getattr(found, f"probability_{side}"), getattr(found, f"probability_{side}_of_{other}")
        told = "" if own is None else f" ({own:.1%}" + ("" if cross is None else f", {other}'s {cross:.1%}") + ")"
        return f"{side} has {visible(getattr(found, f'token_{side}'))}{told}"


def compare(
    a: GenerationResult | Generation,
    b: GenerationResult | Generation,
    *,
    index: int | tuple[int, int] = 0,
    session: Session | None = None,
) -> Comparison:
    """Align the tokens of two generations.

    Args:
        index: of the sequence of each; two numbers where they differ, as in compare(result, result, index=(0, 1)).
        session: asked for probabilities and texts that the results do not hold; None asks those that made them. Where
            nobody can be asked, these stay unknown.

    Raises:
        ParameterError: an index that a result does not have.
    """
    first, second = index if isinstance(index, tuple) else (index, index)
    told_a, told_b = _told("a", a, first, session), _told("b", b, second, session)
    shared = _shared(told_a.token_ids, told_b.token_ids)
    same_prompt = told_a.result.prompt_token_ids == told_b.result.prompt_token_ids
    known = shared if same_prompt else -1
    rows = tuple(_row(told_a, told_b, pair, known) for pair in _pairs(told_a.token_ids, told_b.token_ids, shared))
    is_same = shared == len(told_a.token_ids) == len(told_b.token_ids)
    return Comparison(rows, None if is_same else shared, same_prompt)


def _told(name: str, given: GenerationResult | Generation, index: int, session: Session | None) -> Told:
    result = given.result if isinstance(given, Generation) else given
    if not isinstance(result, GenerationResult):
        raise ParameterError(name, given, "a generation")
    if index not in range(len(result.outputs)):
        raise ParameterError("index", index, f"0 to {len(result.outputs) - 1}, the sequences of {name}")
    return Told(result, index, whom_to_ask(result, session))


def _shared(a: Sequence[int], b: Sequence[int]) -> int:
    """How many tokens both begin with."""
    pairs = enumerate(zip(a, b, strict=False))
    return next((place for place, (one, other) in pairs if one != other), min(len(a), len(b)))


def _pairs(a: Sequence[int], b: Sequence[int], shared: int) -> Iterator[_Pair]:
    """Positions side by side: what both begin with as it is, the rest as difflib aligns it."""
    for place in range(shared):
        yield "equal", place, place
    matcher = SequenceMatcher(None, a[shared:], b[shared:], autojunk=False)
    for op, start_a, end_a, start_b, end_b in matcher.get_opcodes():
        places_a = range(shared + start_a, shared + end_a)
        places_b = range(shared + start_b, shared + end_b)
        for place_a, place_b in zip_longest(places_a, places_b):
            yield _op(place_a, place_b, is_equal=op == "equal"), place_a, place_b


def _op(place_a: int | None, place_b: int | None, is_equal: bool) -> Op:
    """A replacement of unequal length ends in tokens that only one has."""
    if place_a is None or place_b is None:
        return "insert" if place_a is None else "delete"
    return "equal" if is_equal else "replace"


def _row(a: Told, b: Told, pair: _Pair, known: int) -> Aligned:
    op, place_a, place_b = pair
    return Aligned(op, *_side(a, place_a, b, known), *_side(b, place_b, a, known))


def _side(
    own: Told, place: int | None, other: Told, known: int
) -> tuple[int | None, int | None, str | None, float | None, float | None]:
    """Position, id, text, probability, and that of what the other has at the same position."""
    if place is None:
        return None, None, None, None, None
    cross = None
    if place <= known and place < len(other.token_ids):
        cross = own.probability_of(place, other.token_ids[place])
    return place, own.token_ids[place], own.texts[place], own.probabilities[place], cross


def _line(row: Aligned) -> str:
    places = f"{_place(row.position_a)} {_place(row.position_b)}"
    return f"{places}  {row.op:<8} {_text(row.token_a)} | {_text(row.token_b)}"


def _place(position: int | None) -> str:
    return f"{'-' if position is None else position:>5}"


def _text(token: str | None) -> str:
    return "-" if token is None else visible(token)
