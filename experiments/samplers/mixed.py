"""One batch that asks for everything: every sampler alone, random mixtures of them, grammars, biases, several draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from aphrodite_engine.params import DEFAULT_SAMPLER_ORDER, SamplingParams

Fields = Mapping[str, Any]


@dataclass(frozen=True)
class Ask:
    """One request, with a few words about what it asks for."""

    what: str
    prompt: str
    params: SamplingParams


PROMPTS = (
    "Once upon a time",
    "red, blue, green, red, blue, green, red, blue, green,",
    "What is 39 + 48?",
    "Tell me a story about an otter named Pim.",
    "Mia lives in Oslo. The key of Mia is red. Zorvik works as a baker. The key of Zorvik is green.",
    "Once upon a time there was a brave fox named Leo. He lived in a blue barn and liked to sing songs.",
)
#: Every sampler on its own.
STEPS: dict[str, Fields] = {
    "neutral": {},
    "greedy": {"temperature": 0.0},
    "temperature": {"temperature": 0.7},
    "hot": {"temperature": 1.8},
    "dynamic temperature": {"dynatemp_min": 0.2, "dynatemp_max": 2.0, "dynatemp_exponent": 0.7},
    "top_k": {"top_k": 20},
    "top_p": {"top_p": 0.8},
    "min_p": {"min_p": 0.1},
    "top_a": {"top_a": 0.2},
    "top_n_sigma": {"top_n_sigma": 1.0},
    "tfs": {"tfs": 0.9},
    "typical_p": {"typical_p": 0.5},
    "eta_cutoff": {"eta_cutoff": 20.0},
    "epsilon_cutoff": {"epsilon_cutoff": 20.0},
    "quadratic": {"smoothing_factor": 0.3, "smoothing_curve": 2.0},
    "xtc": {"xtc_threshold": 0.1, "xtc_probability": 0.5},
    "skew": {"skew": 0.5},
    "repetition_penalty": {"repetition_penalty": 1.2},
    "frequency_penalty": {"frequency_penalty": 0.5},
    "presence_penalty": {"presence_penalty": 0.5},
    "no_repeat_ngram": {"no_repeat_ngram_size": 3},
    "dry": {"dry_multiplier": 0.8},
    "mirostat": {"mirostat_mode": 2, "mirostat_tau": 3.0},
    "adaptive_p": {"adaptive_target": 0.3, "min_p": 0.05},
}
#: What holds a text to something, beside any sampler.
CONSTRAINTS: dict[str, Fields] = {
    "regex": {"structured_outputs": {"regex": "[a-z]{2,8}( [a-z]{2,8}){1,4}"}},
    "choice": {"structured_outputs": {"choice": ["a red fox", "a blue whale", "two owls"]}},
    "json schema": {
        "structured_outputs": {
            "json": {
                "type": "object",
                "properties": {"name": {"type": "string", "maxLength": 12}, "age": {"type": "integer"}},
                "required": ["name", "age"],
            }
        }
    },
    "logit_bias": {"logit_bias": {7: -100.0, 300: 3.0, 301: 2.0}},
    "allowed_token_ids": {"allowed_token_ids": list(range(200, 900))},
    "bad_words": {"bad_words": ["the", "fox", "."]},
    "min_tokens": {"min_tokens": 30},
    "stop": {"stop": ["the", " a "]},
}
NUM_MIXTURES = 40


def batch() -> list[Ask]:
    """The requests, the same ones every time."""
    random = Random(0)
    alone = [_ask(name, random, fields) for name, fields in STEPS.items()]
    held = [_ask(f"{name}, {step}", random, {**fields, **STEPS[step]})
            for name, fields in CONSTRAINTS.items() for step in random.sample(sorted(STEPS), 2)]  # fmt: skip
    return [*alone, *held, *(_mixture(random) for _ in range(NUM_MIXTURES))]


def _ask(what: str, random: Random, fields: Fields) -> Ask:
    seen = {"logprobs": random.choice((0, 3)), "logprobs_mode": random.choice(("raw", "processed"))}
    fields = {"max_tokens": 40, "seed": random.randrange(2**63), "n": random.choice((1, 1, 1, 2)), **seen, **fields}
    fields["ignore_eos"] = random.random() < 0.5
    return Ask(what, random.choice(PROMPTS), SamplingParams.from_fields(fields))


def _mixture(random: Random) -> Ask:
    """Two to five samplers together, in an order of the request's own half of the time."""
    chosen = random.sample([name for name in STEPS if name not in ("mirostat", "greedy", "dynamic temperature")],
                           random.randint(2, 5))  # fmt: skip
    fields = {name: value for step in chosen for name, value in STEPS[step].items()}
    if random.random() < 0.3:
        fields |= random.choice(list(CONSTRAINTS.values()))
    if random.random() < 0.5:
        fields["sampler_order"] = random.sample(DEFAULT_SAMPLER_ORDER, len(DEFAULT_SAMPLER_ORDER))
    elif random.random() < 0.3:
        fields["temperature_last"] = True
    return _ask(" + ".join(chosen), random, fields)


def shuffled(count: int) -> Sequence[int]:
    """Another order of so many requests."""
    return Random(1).sample(range(count), count)
