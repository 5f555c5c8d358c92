"""How strongly a token is shaded: not at all where the model was sure, the stronger the less it was."""

from __future__ import annotations

import math
from typing import Literal, get_args

Shade = Literal["probability", "entropy", "none"]
SHADES: tuple[Shade, ...] = get_args(Shade)

#: Amber and blue, transparent: the text keeps its theme's colour, on light and on dark.
COLOURS: dict[Shade, str] = {"probability": "255,152,0", "entropy": "84,120,255"}
STRONGEST = 0.6


def checked(shade: str) -> Shade:
    """
    Raises:
        ValueError: none of the three; says which there are.
    """
    for known in SHADES:
        if shade == known:
            return known
    raise ValueError(f"shade={shade!r}: one of {', '.join(SHADES)}")


def by_probability(logprob: float) -> float:
    """Opacity of a token of this log-probability (nats)."""
    return STRONGEST * (1 - math.exp(logprob))


def by_entropy(entropy: float | None) -> float:
    """Opacity at this entropy (nats): that of a token drawn from e^entropy equally likely ones, by probability."""
    return 0.0 if entropy is None else STRONGEST * (1 - math.exp(-entropy))
