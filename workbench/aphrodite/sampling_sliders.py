"""Of each number among the sampling fields: what is worth trying, within what is allowed. Notebook and page read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from aphrodite_engine.params import MAX_LOGPROBS


@dataclass(frozen=True)
class Slider:
    """Ends and step of a slider."""

    low: float
    high: float
    step: float = 1


SLIDERS: Mapping[str, Slider] = {
    "n": Slider(1, 8),
    "temperature": Slider(0, 2, 0.05),
    "top_k": Slider(0, 200),
    "top_p": Slider(0.01, 1, 0.01),
    "min_p": Slider(0, 1, 0.01),
    "dynatemp_min": Slider(0, 2, 0.05),
    "dynatemp_max": Slider(0, 2, 0.05),
    "dynatemp_exponent": Slider(0, 4, 0.1),
    "top_a": Slider(0, 1, 0.01),
    "top_n_sigma": Slider(0, 5, 0.1),
    "tfs": Slider(0.01, 1, 0.01),
    "typical_p": Slider(0.01, 1, 0.01),
    "eta_cutoff": Slider(0, 100),
    "epsilon_cutoff": Slider(0, 100),
    "smoothing_factor": Slider(0, 2, 0.05),
    "smoothing_curve": Slider(1, 5, 0.1),
    "xtc_threshold": Slider(0, 0.5, 0.01),
    "xtc_probability": Slider(0, 1, 0.05),
    "skew": Slider(-3, 3, 0.1),
    "mirostat_tau": Slider(0.5, 10, 0.5),
    "mirostat_eta": Slider(0, 1, 0.05),
    "adaptive_target": Slider(0, 1, 0.05),
    "adaptive_decay": Slider(0, 0.99, 0.01),
    "no_repeat_ngram_size": Slider(0, 10),
    "dry_multiplier": Slider(0, 5, 0.05),
    "dry_base": Slider(1, 4, 0.05),
    "dry_allowed_length": Slider(1, 20),
    "dry_range": Slider(0, 2048, 16),
    "repetition_penalty": Slider(0.8, 2, 0.01),
    "frequency_penalty": Slider(-2, 2, 0.05),
    "presence_penalty": Slider(-2, 2, 0.05),
    "min_tokens": Slider(0, 512),
    "max_tokens": Slider(1, 1024),
    "seed": Slider(0, 100),
    "logprobs": Slider(0, MAX_LOGPROBS),
    "prompt_logprobs": Slider(0, MAX_LOGPROBS),
    "trace": Slider(0, MAX_LOGPROBS),
}
