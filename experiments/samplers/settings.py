"""What the study tries, and how much of it: every step alone over the strengths that people use, hot, the presets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aphrodite.built_in_presets import BUILT_IN

Fields = Mapping[str, Any]


@dataclass(frozen=True)
class Setting:
    """Sampling fields that differ from neutral, under the family they are shown with.

    Attributes:
        shift: added to every seed; settings of one shift are compared on equal random numbers.
    """

    family: str
    label: str
    fields: Fields
    shift: int = 0


@dataclass(frozen=True)
class Sizes:
    """How much is asked under every setting: questions a skill, stories, lists."""

    questions: int
    stories: int
    lists: int


FULL_SIZES = Sizes(questions=200, stories=128, lists=48)
QUICK_SIZES = Sizes(questions=12, stories=8, lists=6)
#: The skills that are asked about, and their exams in `experiments.demo_model`.
SKILLS = {"addition": "addition", "recall": "recall_256", "copy": "copy", "sort": "sort", "json": "json"}

#: The steps alone at temperature 1; a single field a family, so that its value is the label.
SWEPT: dict[str, tuple[str, Sequence[float]]] = {
    "temperature": ("temperature", (0.3, 0.5, 0.7, 1.2, 1.5, 2.0)),
    "top_k": ("top_k", (5, 20, 40, 100)),
    "top_p": ("top_p", (0.5, 0.8, 0.9, 0.95)),
    "min_p": ("min_p", (0.02, 0.05, 0.1, 0.2)),
    "top_a": ("top_a", (0.05, 0.1, 0.2, 0.5)),
    "top_n_sigma": ("top_n_sigma", (0.5, 1.0, 1.5, 2.0)),
    "tfs": ("tfs", (0.8, 0.9, 0.95, 0.99)),
    "typical_p": ("typical_p", (0.2, 0.5, 0.9, 0.95)),
    "eta_cutoff": ("eta_cutoff", (3.0, 9.0, 20.0, 40.0)),
    "epsilon_cutoff": ("epsilon_cutoff", (3.0, 9.0, 20.0, 40.0)),
    "skew": ("skew", (-1.0, -0.5, 0.5, 1.0)),
    "repetition_penalty": ("repetition_penalty", (1.05, 1.1, 1.2, 1.5)),
    "frequency_penalty": ("frequency_penalty", (0.1, 0.5, 1.0)),
    "presence_penalty": ("presence_penalty", (0.1, 0.5, 1.0)),
    "no_repeat_ngram": ("no_repeat_ngram_size", (2, 3, 4, 6)),
}
#: Steps with several fields.
WRITTEN_OUT: dict[str, dict[str, Fields]] = {
    "dynamic temperature": {
        "0 to 1": {"dynatemp_min": 0.0, "dynatemp_max": 1.0},
        "0.5 to 1.5": {"dynatemp_min": 0.5, "dynatemp_max": 1.5},
        "0 to 2": {"dynatemp_min": 0.0, "dynatemp_max": 2.0},
    },
    "quadratic": {
        "0.1": {"smoothing_factor": 0.1},
        "0.2": {"smoothing_factor": 0.2},
        "0.5": {"smoothing_factor": 0.5},
        "1.5": {"smoothing_factor": 1.5},
        "0.2, curve 3": {"smoothing_factor": 0.2, "smoothing_curve": 3.0},
    },
    "xtc": {
        "0.1, half the time": {"xtc_threshold": 0.1, "xtc_probability": 0.5},
        "0.1, always": {"xtc_threshold": 0.1, "xtc_probability": 1.0},
        "0.2, half the time": {"xtc_threshold": 0.2, "xtc_probability": 0.5},
        "0.1, half, min_p 0.05": {"xtc_threshold": 0.1, "xtc_probability": 0.5, "min_p": 0.05},
    },
    "mirostat": {
        f"tau {tau:g}": {"mirostat_mode": 2, "mirostat_tau": tau, "mirostat_eta": 0.1} for tau in (0.5, 1.0, 3.0, 5.0)
    },
    "adaptive_p": {
        f"{target:g}, min_p 0.05": {"adaptive_target": target, "min_p": 0.05} for target in (0.2, 0.4, 0.6, 0.9)
    },
    "dry": {
        "0.4": {"dry_multiplier": 0.4},
        "0.8": {"dry_multiplier": 0.8},
        "1.6": {"dry_multiplier": 1.6},
        "0.8, from 4 tokens": {"dry_multiplier": 0.8, "dry_allowed_length": 4},
        "0.8, no breakers": {"dry_multiplier": 0.8, "dry_sequence_breakers": []},
    },
}
#: What keeps a hot distribution in bounds; min_p and top_n_sigma were proposed for this.
BOUNDS: dict[str, Fields] = {
    "nothing": {},
    "top_k 20": {"top_k": 20},
    "top_p 0.9": {"top_p": 0.9},
    "min_p 0.1": {"min_p": 0.1},
    "min_p 0.1 first": {"min_p": 0.1, "temperature_last": True},
    "top_a 0.2": {"top_a": 0.2},
    "top_n_sigma 1": {"top_n_sigma": 1.0},
    "tfs 0.95": {"tfs": 0.95},
    "typical_p 0.9": {"typical_p": 0.9},
    "eta_cutoff 20": {"eta_cutoff": 20.0},
    "epsilon_cutoff 20": {"epsilon_cutoff": 20.0},
    "quadratic 0.2": {"smoothing_factor": 0.2},
}
NEUTRAL = Setting("neutral", "temperature 1", {})
#: The same setting with other random numbers shows how much of a difference is chance.
AGAIN = [Setting("neutral", f"other seeds {again}", {}, shift=1000 * again) for again in (1, 2, 3)]
#: What `--quick` runs: one of every kind of step.
QUICK = [
    NEUTRAL,
    Setting("temperature", "0 (greedy)", {"temperature": 0.0}),
    Setting("temperature", "2", {"temperature": 2.0}),
    Setting("typical_p", "0.5", {"typical_p": 0.5}),
    Setting("mirostat", "tau 3", {"mirostat_mode": 2, "mirostat_tau": 3.0}),
    Setting("dry", "0.8", {"dry_multiplier": 0.8}),
    Setting("hot 1.5", "min_p 0.1", {"temperature": 1.5, "min_p": 0.1}),
]


def everything() -> list[Setting]:
    """Neutral first: the others are compared with it."""
    return [NEUTRAL, *AGAIN, *_steps(), *_hot(1.5), *_hot(2.0), *_presets()]


def _steps() -> Iterator[Setting]:
    yield Setting("temperature", "0 (greedy)", {"temperature": 0.0})
    for family, (field, values) in SWEPT.items():
        yield from (Setting(family, f"{value:g}", {field: value}) for value in values)
    for family, fields in WRITTEN_OUT.items():
        yield from (Setting(family, label, chosen) for label, chosen in fields.items())


def _hot(temperature: float) -> Iterator[Setting]:
    for label, fields in BOUNDS.items():
        yield Setting(f"hot {temperature:g}", label, {"temperature": temperature, **fields})


def _presets() -> Iterator[Setting]:
    yield from (Setting("presets", name, preset.fields) for name, preset in BUILT_IN.items())
