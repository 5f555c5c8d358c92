"""The presets that everybody has: one for each way of sampling, named by what it is for.

Together they use every step of the sampler; what only a prompt can know (token ids, texts to stop at) they leave
alone. Values are those of the methods' own publications where these name some.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Preset:
    """A named set of sampling fields.

    Attributes:
        fields: what differs from neutral.
        why: in one line, its effect and where the method comes from.
        is_own: the user's, kept in the configuration folder.
    """

    name: str
    fields: Mapping[str, Any]
    why: str = ""
    is_own: bool = False


def _by_name(presets: Iterable[Preset]) -> dict[str, Preset]:
    return {preset.name: preset for preset in presets}


_CLICHES = [
    "shivers down", "barely above a whisper", "a testament to", "rich tapestry", "couldn't help but",
    "little did they know", "a mix of", "eyes sparkling", "as an ai",
]  # fmt: skip

BUILT_IN: Mapping[str, Preset] = _by_name(
    (
        Preset("neutral", {}, "the model's own distribution, nothing changed"),
        Preset("greedy", {"temperature": 0.0}, "always the most likely token: one answer, whatever the seed"),
        Preset("precise", {"temperature": 0.3, "top_p": 0.9}, "facts, code, numbers: few surprises"),
        Preset("balanced", {"temperature": 0.7, "min_p": 0.05}, "everyday answers (min_p: arXiv 2407.01082)"),
        Preset(
            "creative",
            {"temperature": 1.2, "min_p": 0.05, "temperature_last": True},
            "stories: nonsense is dropped first, then what is left is made more even",
        ),
        Preset(
            "classic",
            {"temperature": 0.8, "top_k": 40, "top_p": 0.95, "repetition_penalty": 1.1},
            "what llama.cpp began with; to compare with older results",
        ),
        Preset(
            "focused",
            {"temperature": 1.5, "top_n_sigma": 1.0},
            "keeps the same tokens at any temperature, so that it may be high (top-n-sigma: arXiv 2411.07641)",
        ),
        Preset(
            "confident",
            {"top_a": 0.2},
            "the surer the model, the fewer tokens: the bound is a square (top-a: BlinkDL, RWKV-LM)",
        ),
        Preset(
            "tail_free",
            {"tfs": 0.95},
            "cuts where sorted probabilities become flat (tail free sampling: T. Bricken, 2020)",
        ),
        Preset(
            "typical",
            {"typical_p": 0.95},
            "tokens about as surprising as the model expects, not the likeliest (arXiv 2202.00666)",
        ),
        Preset(
            "even_floor",
            {"epsilon_cutoff": 6.0},
            "drops what has less than 6 chances in 10,000 (epsilon sampling: arXiv 2210.15191)",
        ),
        Preset(
            "entropy_floor",
            {"eta_cutoff": 6.0},
            "the same, with a lower bound where the model is unsure (eta sampling: arXiv 2210.15191)",
        ),
        Preset(
            "dynamic",
            {"dynatemp_min": 0.5, "dynatemp_max": 1.5},
            "cool where the model is sure, warm where many tokens would do (dynamic temperature: kalomaze)",
        ),
        Preset(
            "smooth",
            {"smoothing_factor": 0.25, "smoothing_curve": 1.5},
            "evens out the best tokens, drops the rest gently (text-generation-webui pull requests 5403, 5551)",
        ),
        Preset(
            "tilted",
            {"skew": 0.3, "min_p": 0.05},
            "moves some mass from likely to unlikely tokens (skew: exllamav2)",
        ),
        Preset(
            "surprising",
            {"xtc_probability": 0.5, "min_p": 0.02},
            "leaves out the obvious words half of the time (XTC: text-generation-webui pull request 6335)",
        ),
        Preset(
            "adaptive",
            {"adaptive_target": 0.55, "min_p": 0.05},
            "steers towards tokens of medium probability over time (adaptive-p: llama.cpp pull request 17927)",
        ),
        Preset(
            "steady",
            {"mirostat_mode": 2, "mirostat_tau": 3.0},
            "long texts that neither loop nor fall apart: 3 bits of surprise a token (mirostat: arXiv 2007.14966)",
        ),
        Preset(
            "no_loops",
            {"temperature": 0.7, "min_p": 0.05, "dry_multiplier": 0.8},
            "going on with a repetition costs more with every token (DRY: text-generation-webui pull request 5677)",
        ),
        Preset(
            "fresh_words",
            {"temperature": 0.7, "frequency_penalty": 0.3, "presence_penalty": 0.3, "no_repeat_ngram_size": 4},
            "new words are preferred, and no run of four tokens comes twice (arXiv 1705.04304)",
        ),
        Preset(
            "no_cliches",
            {"temperature": 0.8, "min_p": 0.05, "banned_phrases": _CLICHES},
            "worn phrases are taken back and written anew (phrase ban with rollback: koboldcpp's anti-slop)",
        ),
    )
)
