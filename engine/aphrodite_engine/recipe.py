"""All that is needed to make a result again, as a file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from aphrodite_engine.build import Build
from aphrodite_engine.errors import ParameterError
from aphrodite_engine.inside.steering import Steering
from aphrodite_engine.params import MAX_SEED, SamplingParams, did_you_mean
from aphrodite_engine.params_json import params_from_json, params_to_json
from aphrodite_engine.prompts import Continuation

#: Of the file; a reader refuses any other.
FORMAT = 1

_NEEDED = ("format", "model", "fingerprint", "build", "prompt_token_ids", "sampling", "seed", "outputs")
_KNOWN = (*_NEEDED, "continuation", "steering")


@dataclass(frozen=True)
class Recipe:
    """How a result was made, and which tokens it gave.

    Attributes:
        model: the name it was asked under.
        params: as they were given; `seed` is what was drawn with, given or not.
        outputs: token ids of each of the n sequences.
    """

    model: str
    build: Build
    prompt_token_ids: tuple[int, ...]
    params: SamplingParams
    seed: int
    outputs: tuple[tuple[int, ...], ...]
    continuation: Continuation | None = None
    steering: Steering = field(default_factory=Steering)

    @property
    def fingerprint(self) -> str:
        """Of the model and all else that equal tokens depend on."""
        return self.build.fingerprint

    def to_json(self) -> dict[str, Any]:
        """Plain values; what is not there is left out."""
        recipe: dict[str, Any] = {
            "format": FORMAT,
            "model": self.model,
            "fingerprint": self.fingerprint,
            "build": asdict(self.build),
            "prompt_token_ids": list(self.prompt_token_ids),
            "sampling": params_to_json(self.params),
            "seed": self.seed,
            "outputs": [list(token_ids) for token_ids in self.outputs],
        }
        if self.continuation is not None:
            begun = self.continuation
            recipe["continuation"] = {"token_ids": list(begun.token_ids), "index": begun.index}
        if self.steering.steers:
            recipe["steering"] = self.steering.to_json()
        return recipe

    @classmethod
    def from_json(cls, data: Any) -> Recipe:
        """What to_json wrote.

        Raises:
            ParameterError: naming the field, the value and what is allowed.
        """
        _check_names(data)
        build = _build(data["build"])
        if data["fingerprint"] != build.fingerprint:
            raise ParameterError("fingerprint", data["fingerprint"], f"{build.fingerprint}, which is its build's")
        params = params_from_json(_checked("sampling", data["sampling"], Mapping, "an object of sampling fields"))
        seed = data["seed"]
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= MAX_SEED:
            raise ParameterError("seed", seed, f"an integer from 0 to {MAX_SEED}")
        return cls(
            _checked("model", data["model"], str, "a name"),
            build,
            _ids("prompt_token_ids", data["prompt_token_ids"]),
            params,
            seed,
            _outputs(data["outputs"], params.n),
            _continuation(data.get("continuation")),
            _steering(data.get("steering")),
        )

    def save(self, path: str | Path) -> None:
        """Write it as JSON."""
        Path(path).write_text(json.dumps(self.to_json(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Recipe:
        """Read what save wrote.

        Raises:
            ParameterError: no such file, no JSON, or no recipe.
        """
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise ParameterError("recipe", str(path), f"a file that can be read: {error.strerror}") from error
        except (ValueError, RecursionError) as error:
            raise ParameterError("recipe", str(path), f"a JSON file: {error}") from error
        return cls.from_json(data)


def _check_names(data: Any) -> None:
    _checked("recipe", data, Mapping, "a JSON object, as Recipe.save writes it")
    if data.get("format") != FORMAT:
        raise ParameterError("format", data.get("format"), f"{FORMAT}, which this version writes and reads")
    for name in data:
        if name not in _KNOWN:
            raise ParameterError(name, data[name], did_you_mean(name, _KNOWN))
    for name in _NEEDED:
        if name not in data:
            raise ParameterError(name, None, "a value: a recipe needs it")


def _build(data: Any) -> Build:
    names = [each.name for each in fields(Build)]
    if not isinstance(data, Mapping) or set(data) != set(names):
        raise ParameterError("build", data, f"an object of {', '.join(names)}")
    for name, value in data.items():
        if not isinstance(value, str) and not (name == "quantization" and value is None):
            raise ParameterError(f"build.{name}", value, "a string")
    return Build(**data)


def _outputs(data: Any, count: int) -> tuple[tuple[int, ...], ...]:
    lists = _listed("outputs", data, "a list of lists of token ids")
    if len(lists) != count:
        raise ParameterError("outputs", f"{len(lists)} of them", f"n={count}, as sampling has it")
    return tuple(_ids(f"outputs[{place}]", ids) for place, ids in enumerate(lists))


def _continuation(data: Any) -> Continuation | None:
    if data is None:
        return None
    if not isinstance(data, Mapping) or set(data) != {"token_ids", "index"}:
        raise ParameterError("continuation", data, "an object of token_ids and index")
    if isinstance(data["index"], bool) or not isinstance(data["index"], int):
        raise ParameterError("continuation.index", data["index"], "an integer")
    return Continuation(_ids("continuation.token_ids", data["token_ids"]), data["index"])


def _steering(data: Any) -> Steering:
    try:
        return Steering.from_json(data or ())
    except (KeyError, TypeError, ValueError) as error:
        raise ParameterError("steering", data, f"vectors as Recipe.save writes them: {error!r}") from error


def _ids(name: str, data: Any) -> tuple[int, ...]:
    for place, token_id in enumerate(_listed(name, data, "a list of token ids")):
        if isinstance(token_id, bool) or not isinstance(token_id, int) or token_id < 0:
            raise ParameterError(f"{name}[{place}]", token_id, "token ids are integers of 0 or more")
    return tuple(data)


def _listed(name: str, data: Any, allowed: str) -> Sequence[Any]:
    if not isinstance(data, list | tuple):
        raise ParameterError(name, data, allowed)
    return data


def _checked(name: str, value: Any, kind: type, allowed: str) -> Any:
    if not isinstance(value, kind):
        raise ParameterError(name, value, allowed)
    return value
