"""How an answer looks on the page: its tokens shaded, and one line that says how it went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from html import escape
from typing import Any

from aphrodite.display.shade import Shade
from aphrodite.display.token_html import sequence
from aphrodite_apps.dashboard.run import Run
from aphrodite_engine.outputs import CompletionOutput
from aphrodite_engine.params import SamplingParams

#: Alternatives asked for with every token; they change no token.
ALTERNATIVES = 5
#: What the shade means until somebody chooses.
SHADE: Shade = "probability"
#: While it is being written, an answer longer than this is plain text: shading it again and again would take longer
#: than writing it.
_SHADED_LIVE = 600
_ENDS = {
    "length": "cut at the token limit",
    "repetition": "cut where it went round",
    "abort": "stopped",
    "error": "the engine failed",
}


def params(fields: Mapping[str, Any]) -> SamplingParams:
    """These sampling fields, with what the shades are made from.

    Raises:
        ParameterError: a field out of range.
    """
    return SamplingParams.from_fields({**fields, "logprobs": ALTERNATIVES})


def answer(run: Run) -> str:
    """The text so far; with alternatives to hover over once it is whole."""
    output = run.output
    kept = len(output.given) - 1 if output.given else None  # the last one was chosen in place of another
    if run.is_over:
        return sequence(output, SHADE, kept)
    is_long = len(output.token_ids) > _SHADED_LIVE
    return sequence(replace(output, logprobs=None) if is_long else _bare(output), SHADE, kept)


def facts(run: Run) -> str:
    """One line: an error, or how many tokens, how fast, with which seed, and why it ended."""
    if run.error is not None:
        return wrong(run.error)
    output = run.output
    count = len(output.token_ids)
    if not run.is_over:
        return _line([f"{count} tokens" if count else "waiting for the first token"], "busy")
    parts = [_count(count), *_speed(run), f"seed <b>{output.seed}</b>"]
    reason = _ENDS.get(output.finish_reason or "")
    return _line([*parts, *([f"<em>{reason}</em>"] if reason else [])])


def wrong(message: str) -> str:
    """An error as one line."""
    return f'<div class="facts wrong" role="alert">{escape(" ".join(message.split()))}</div>'


def _line(parts: list[str], kind: str = "") -> str:
    return f'<div class="facts {kind}" role="status">{" · ".join(parts)}</div>'


def _count(count: int) -> str:
    return f"{count} token" if count == 1 else f"{count:,} tokens"


def _speed(run: Run) -> list[str]:
    timing, count = run.result.timing, len(run.output.token_ids)
    if timing is None or count < 2 or timing.total_ms <= timing.ttft_ms:
        return [f"{run.seconds:.1f} s"]
    speed = 1e3 * (count - 1) / (timing.total_ms - timing.ttft_ms)
    return [f"{speed:,.0f} tok/s", f"first token {timing.ttft_ms:,.0f} ms"]


def _bare(output: CompletionOutput) -> CompletionOutput:
    """Without alternatives, which are most of what would be sent twenty times a second."""
    if output.logprobs is None:
        return output
    drawn = zip(output.token_ids, output.logprobs, strict=True)
    bare = [{token_id: position[token_id]} if position else {} for token_id, position in drawn]
    return replace(output, logprobs=bare)
