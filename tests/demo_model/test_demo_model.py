"""The bundled model's files: complete, small, and as the model card says."""

import json
from pathlib import Path

import pytest
from safetensors import safe_open
from transformers import AutoConfig, AutoTokenizer

from aphrodite_engine import demo

CARD = Path(__file__).parents[2] / "experiments" / "demo_model"
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(demo.path())


def test_all_files_are_there_and_small():
    names = ("config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
    assert all((demo.path() / name).is_file() for name in names)
    assert sum((demo.path() / name).stat().st_size for name in names) < 18_000_000


def test_configuration_is_a_llama_of_2048_positions(tokenizer):
    config = AutoConfig.from_pretrained(demo.path())
    assert config.model_type == "llama"
    assert config.max_position_embeddings == 2048
    assert config.head_dim % 16 == 0
    assert config.vocab_size == len(tokenizer)


def test_weights_have_the_shapes_of_the_configuration():
    config = AutoConfig.from_pretrained(demo.path())
    with safe_open(demo.path() / "model.safetensors", framework="pt") as weights:
        embedding = weights.get_slice("model.embed_tokens.weight")
        assert embedding.get_shape() == [config.vocab_size, config.hidden_size]
        assert embedding.get_dtype() == "BF16"
        assert len(weights.keys()) == 2 + 9 * config.num_hidden_layers


def test_generation_stops_at_the_end_of_a_text_or_a_turn(tokenizer):
    generation = json.loads((demo.path() / "generation_config.json").read_text())
    assert generation["eos_token_id"] == tokenizer.convert_tokens_to_ids(["<|end|>", "<|turn_end|>"])


def test_every_digit_is_a_token(tokenizer):
    ids = tokenizer("In 2048 and 73.", add_special_tokens=False).input_ids
    assert [token for token in tokenizer.convert_ids_to_tokens(ids) if token.isdigit()] == list("204873")


@pytest.mark.parametrize("text", ["Hello wörld", "🎉 Ω\t\n\n  x", "日本語", "".join(map(chr, range(1, 1024)))])
def test_any_text_survives_the_round_trip(tokenizer, text):
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False).input_ids) == text


def test_raw_text_gets_exactly_one_begin_token(tokenizer):
    assert tokenizer("Once upon a time").input_ids.count(tokenizer.bos_token_id) == 1


def test_template_renders_system_and_tools_with_one_begin_token(tokenizer):
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Weather in Lima?"}]
    text = tokenizer.apply_chat_template(messages, tools=[WEATHER], tokenize=False, add_generation_prompt=True)
    assert text == (
        "<|begin|><|system|>Be kind.\n\nTools:\n" + json.dumps(WEATHER) + "<|turn_end|>"
        "<|user|>Weather in Lima?<|turn_end|><|assistant|>"
    )
    ids = tokenizer(text, add_special_tokens=False).input_ids
    assert ids.count(tokenizer.bos_token_id) == 1
    assert tokenizer.apply_chat_template(messages, tools=[WEATHER], add_generation_prompt=True)["input_ids"] == ids


def test_template_renders_calls_and_results(tokenizer):
    call = {"type": "function", "function": {"name": "get_weather", "arguments": {"city": "Lima"}}}
    messages = [
        {"role": "user", "content": "Weather in Lima?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": '{"sky": "sunny"}'},
    ]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert text == (
        "<|begin|><|user|>Weather in Lima?<|turn_end|>"
        '<|assistant|><tool_call>\n{"name": "get_weather", "arguments": {"city": "Lima"}}\n</tool_call><|turn_end|>'
        '<|tool|>{"sky": "sunny"}<|turn_end|><|assistant|>'
    )


def test_call_markers_survive_decoding_without_special_tokens(tokenizer):
    ids = tokenizer("<tool_call>\n{}\n</tool_call><|turn_end|>", add_special_tokens=False).input_ids
    assert tokenizer.decode(ids, skip_special_tokens=True) == "<tool_call>\n{}\n</tool_call>"


def test_unknown_role_is_refused(tokenizer):
    with pytest.raises(Exception, match="unknown role: robot"):
        tokenizer.apply_chat_template([{"role": "robot", "content": "beep"}], tokenize=False)


def test_card_states_the_figures_of_the_exam():
    results = json.loads((CARD / "results.json").read_text())
    card = (CARD / "README.md").read_text()
    for name, mark in results["skills"].items():
        assert mark["exact"] == mark["right"] / mark["items"]
        assert f"| {name} | {mark['exact']:.1%} | {mark['items']} |" in card
    assert f"{results['model']['parameters']:,}" in card
    assert results["model"]["file_bytes"] == (demo.path() / "model.safetensors").stat().st_size
