"""Make a result again from its recipe, and say what came out different."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from aphrodite_engine.asking.question import Call, Question, detokenized
from aphrodite_engine.errors import ParameterError
from aphrodite_engine.outputs import GenerationResult
from aphrodite_engine.recipe import Recipe


@dataclass(frozen=True)
class Change:
    """Something of the build that is not what it was."""

    name: str
    before: str | None
    now: str | None


@dataclass(frozen=True)
class Difference:
    """Where a sequence leaves the one it should be.

    Attributes:
        index: of the sequence.
        position: of the first token that differs, in the output; the end of the shorter one where that is all.
        before, now: both texts.
    """

    index: int
    position: int
    before: str
    now: str


@dataclass(frozen=True)
class Replayed:
    """What a recipe gave this time.

    Attributes:
        changes: what of the build differs, whether it mattered or not.
        differences: of each sequence whose tokens differ.
    """

    recipe: Recipe
    result: GenerationResult
    changes: tuple[Change, ...] = ()
    differences: tuple[Difference, ...] = ()

    @property
    def same(self) -> bool:
        """Every token of every sequence is what it was."""
        return not self.differences

    def __repr__(self) -> str:
        """As text: in a notebook it is what a replay answers."""
        return str(self)

    def __str__(self) -> str:
        count = sum(map(len, self.recipe.outputs))
        told = [f"the same {count} tokens" if self.same else "other tokens"]
        for each in self.differences:
            told.append(f"output {each.index} differs from token {each.position} on")
            told += [f"  before: {each.before!r}", f"  now:    {each.now!r}"]
        told += [f"{each.name}: {each.now}, the recipe has {each.before}" for each in self.changes]
        if self.differences and not self.changes:
            told.append("nothing that is known of model and build differs")
        return "\n".join(told)


def replay(recipe: Recipe) -> Question[Replayed]:
    """What `Asks.replay` asks."""
    if not isinstance(recipe, Recipe):
        raise ParameterError("recipe", recipe, "a Recipe: result.recipe, or Recipe.load(path)")
    params = recipe.params.with_fields(seed=recipe.seed)
    options = {"continuation": recipe.continuation}
    (result,) = yield Call("generate", ([list(recipe.prompt_token_ids)], params), options)
    differences: list[Difference] = []
    for output, before in zip(result.outputs, recipe.outputs, strict=True):
        if (position := _first_difference(before, tuple(output.token_ids))) is not None:
            text = yield from detokenized(before)
            now = yield from detokenized(output.token_ids)
            differences.append(Difference(output.index, position, text, now))
    return Replayed(recipe, result, _changes(recipe, result), tuple(differences))


def _first_difference(before: tuple[int, ...], now: tuple[int, ...]) -> int | None:
    if before == now:
        return None
    pairs = enumerate(zip(before, now, strict=False))
    return next((place for place, (old, new) in pairs if old != new), min(len(before), len(now)))


def _changes(recipe: Recipe, result: GenerationResult) -> tuple[Change, ...]:
    before, now = asdict(recipe.build), asdict(result.known_origin.build)
    return tuple(Change(name, before[name], now[name]) for name in before if before[name] != now[name])
