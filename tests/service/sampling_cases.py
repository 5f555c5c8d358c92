"""A value for every field of SamplingParams that shows: with it, one seed gives another answer than without."""

from __future__ import annotations

from typing import Any

from aphrodite_engine.params import SamplingParams

PROMPT = "Once upon a time"
MESSAGES = [{"role": "user", "content": "Tell me a story about a fox named Pip."}]
SEED, MAX_TOKENS = 3, 24
_TURN_END = 6
#: Nothing but the end of a turn is drawn.
_ENDING: dict[str, Any] = {"logit_bias": {str(_TURN_END): 100}}
#: Few tokens, so that they repeat.
_FEW: dict[str, Any] = {"allowed_token_ids": [300, 301, 302]}

#: Field -> its value, and others that it needs.
CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "n": (2, {}),
    "temperature": (0.2, {}),
    "dynatemp_min": (1.9, {"dynatemp_max": 2.0}),
    "dynatemp_max": (2.0, {}),
    "dynatemp_exponent": (5.0, {"dynatemp_max": 2.0}),
    "top_k": (1, {}),
    "top_p": (0.05, {}),
    "min_p": (0.9, {}),
    "top_a": (1e6, {}),
    "top_n_sigma": (0.01, {}),
    "tfs": (0.01, {}),
    "typical_p": (0.05, {}),
    "eta_cutoff": (9000.0, {}),
    "epsilon_cutoff": (5000.0, {}),
    "smoothing_factor": (10.0, {}),
    "smoothing_curve": (10.0, {"smoothing_factor": 0.5}),
    "xtc_threshold": (0.01, {"xtc_probability": 1.0}),
    "xtc_probability": (1.0, {"xtc_threshold": 0.01}),
    "skew": (3.0, {}),
    "mirostat_mode": (2, {"mirostat_tau": 0.5}),
    "mirostat_tau": (0.5, {"mirostat_mode": 2}),
    "mirostat_eta": (10.0, {"mirostat_mode": 2, "mirostat_tau": 1.0}),
    "adaptive_target": (0.05, {}),
    "adaptive_decay": (0.0, {"adaptive_target": 0.4}),
    "repetition_penalty": (10.0, {}),
    "frequency_penalty": (2.0, _FEW),
    "presence_penalty": (2.0, {"allowed_token_ids": [*range(300, 320)], "temperature": 2.0}),
    "no_repeat_ngram_size": (1, {}),
    "dry_multiplier": (50.0, _FEW),
    "dry_base": (100.0, {**_FEW, "dry_multiplier": 0.1}),
    "dry_allowed_length": (9, {**_FEW, "dry_multiplier": 50.0}),
    "dry_range": (2, {**_FEW, "dry_multiplier": 50.0}),
    "dry_sequence_breakers": (["o"], {**_FEW, "dry_multiplier": 50.0}),
    "logit_bias": ({"300": 100}, {}),
    "allowed_token_ids": ([300, 301, 302], {}),
    "bad_words": ([" a", " the", " was", ","], {}),
    "banned_phrases": (["the", "a ", "was"], {}),
    "repetition_detection": ({"max_pattern_size": 3, "min_count": 2}, _FEW),
    "min_tokens": (9, {"logit_bias": {str(_TURN_END): 20}}),
    "max_tokens": (5, {}),
    "stop": (["e", "o"], {}),
    "stop_token_ids": ([300], {"logit_bias": {"300": 100}}),
    "ignore_eos": (True, _ENDING),
    "include_stop_str_in_output": (True, {"stop": ["e", "o"]}),
    "skip_special_tokens": (False, {**_ENDING, "ignore_eos": True}),
    "seed": (4, {}),
    "logprobs": (2, {}),
    "prompt_logprobs": (2, {}),
    "trace": (2, {}),
    "logprobs_mode": ("processed", {"logprobs": 2, "temperature": 0.5}),
    "sampler_order": (["top_k"], {"top_k": 5, "temperature": 0.1}),
    "temperature_last": (True, {"temperature": 0.2, "min_p": 0.1}),
    "structured_outputs": ({"regex": "[a-c]{9}"}, {}),
}


def fields_of(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What to ask with this field, and without it."""
    value, others = CASES[name]
    without = {"seed": SEED, "max_tokens": MAX_TOKENS, **others}
    return without | {name: value}, {field: given for field, given in without.items() if field != name}


def params_of(fields: dict[str, Any]) -> SamplingParams:
    """The engine's own; keys of a JSON object are strings."""
    bias = fields.get("logit_bias")
    return SamplingParams.from_fields(fields | ({"logit_bias": {int(k): v for k, v in bias.items()}} if bias else {}))


def in_chat_s_words(fields: dict[str, Any]) -> dict[str, Any]:
    """As `/v1/chat/completions` has them."""
    others = {name: value for name, value in fields.items() if name != "logprobs"}
    return others | ({"logprobs": True, "top_logprobs": fields["logprobs"]} if "logprobs" in fields else {})
