"""When a text counts as going round, as a request says it. The names and their meaning are vLLM's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from aphrodite_engine.errors import ParameterError
from aphrodite_engine.param_checks import Range

FIELD = "repetition_detection"
PARTS: dict[str, Range] = {
    "max_pattern_size": Range(1, 1024, whole=True),
    "min_pattern_size": Range(1, 1024, whole=True),
    "min_count": Range(2, 1024, whole=True),
}


@dataclass(frozen=True)
class RepetitionDetection:
    """A checked `SamplingParams.repetition_detection`."""

    max_pattern_size: int
    min_count: int
    min_pattern_size: int = 1


def detection_of(asked: object) -> RepetitionDetection | None:
    """What a request asks for; None is off.

    Raises:
        ParameterError: naming the part, its value and what is allowed.
    """
    if asked is None:
        return None
    if not isinstance(asked, Mapping) or not {"max_pattern_size", "min_count"} <= set(asked):
        raise ParameterError(FIELD, asked, f"max_pattern_size and min_count, as in {_EXAMPLE}")
    for part, value in asked.items():
        if part not in PARTS:
            raise ParameterError(FIELD, part, f"its parts are {', '.join(PARTS)}")
        PARTS[part].check(f"{FIELD}.{part}", value)
    detection = RepetitionDetection(**asked)
    if detection.min_pattern_size > detection.max_pattern_size:
        allowed = f"at most max_pattern_size={detection.max_pattern_size}"
        raise ParameterError(f"{FIELD}.min_pattern_size", detection.min_pattern_size, allowed)
    return detection


_EXAMPLE = '{"max_pattern_size": 20, "min_pattern_size": 1, "min_count": 4}'
