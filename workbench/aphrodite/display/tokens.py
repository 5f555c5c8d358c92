"""The tokens of a sequence as rows of a table."""

from __future__ import annotations

from typing import Any

from aphrodite_engine.outputs import CompletionOutput


def token_rows(output: CompletionOutput) -> list[dict[str, Any]]:
    """One row a token of the sequence."""
    return [
        {
            "index": output.index,
            "position": token.position,
            "token_id": token.token_id,
            "token": token.text,
            "logprob": token.logprob,
            "probability": token.probability,
            "raw_probability": token.raw_probability,
            "processed_probability": token.processed_probability,
            "rank": token.rank,
            "entropy_nats": token.entropy,
        }
        for token in output.tokens
    ]
