"""What a service does, as a table."""

from __future__ import annotations

from typing import Any

from aphrodite.display.load import load_of


def status(output_tokens: int, **model: Any) -> dict[str, Any]:
    stats = {
        "running": 2, "waiting": 1, "kv_blocks": 200, "kv_blocks_used": 50, "resident_bytes": 300 * 2**20,
        "output_tokens": output_tokens,
    }  # fmt: skip
    return {"models": [{"id": "demo", "state": "ready", "stats": stats | model}]}


def test_speed_is_the_difference_of_two_looks() -> None:
    found = load_of(status(1500), status(500), 2.0)
    assert found.output_tok_s == 500 and found.models[0].kv_share == 0.25
    assert repr(found).splitlines() == [
        "model  state  running  waiting  output_tok_s  kv_cache  memory_mib",
        "demo   ready        2        1           500      25 %         300",
    ]


def test_a_restarted_engine_counts_anew_and_a_new_model_from_nothing() -> None:
    assert load_of(status(10), status(500), 1.0).output_tok_s == 0
    assert load_of(status(10), {"models": []}, 1.0).output_tok_s == 0
    assert load_of(status(10), status(10), 0).output_tok_s == 0


def test_an_encoder_has_no_cache() -> None:
    assert load_of(status(0, kv_blocks=0), status(0), 1.0).models[0].kv_share == 0


def test_no_model_is_said_in_words() -> None:
    empty = load_of({"models": []}, {"models": []}, 1.0)
    assert all("%aphrodite load" in text for text in empty.bundle().values())


def test_names_are_text_in_every_form() -> None:
    found = status(1)
    found["models"][0]["id"] = "<b>|x"
    bundle = load_of(found, found, 1.0).bundle()
    assert "&lt;b&gt;|x" in bundle["text/html"] and "\\<b\\>\\|x" in bundle["text/markdown"]
