"""Where results go, as text or JSON, in the names users know from the Python objects."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TextIO

import aphrodite
from aphrodite_apps.cli.command import UsageError

SEPARATOR = "---"  # between texts: they may hold empty lines of their own


def check(name: str | None) -> None:
    """Refuse a file that cannot be written before minutes of work, and leave an old one alone until there are results.

    Raises:
        UsageError: its folder does not exist, or it is a folder.
    """
    if name is None:
        return
    if Path(name).is_dir() or not Path(name).parent.is_dir():
        raise UsageError(f"cannot write {name}: {'it is a folder' if Path(name).is_dir() else 'no such folder'}")


@contextmanager
def opened(name: str | None) -> Iterator[TextIO]:
    """Standard output, or the file of that name."""
    if name is None:
        yield sys.stdout
        return
    try:
        file = open(name, "w", encoding="utf-8")  # noqa: SIM115 (closed below; an error of the body is not ours)
    except OSError as error:
        raise UsageError(f"cannot write {name}: {error.strerror}") from error
    with file:
        yield file


class Writer:
    """Writes results as they come: a JSON object a line, or each text with `---` lines between them.

    A file is opened with the first result, so a run that fails before leaves an old one alone.
    """

    def __init__(self, name: str | None, *, as_json: bool) -> None:
        self._name, self._as_json = name, as_json
        self._file: TextIO | None = None
        self._stack = ExitStack()

    def write(self, result: aphrodite.GenerationResult) -> None:
        if self._as_json:
            self._line(json.dumps(record(result), ensure_ascii=False))
            return
        for each in result.outputs:
            if self._file is not None:
                self._line(SEPARATOR)
            self._line(each.text)

    def close(self) -> None:
        self._stack.close()

    def _line(self, text: str) -> None:
        if self._file is None:
            self._file = self._stack.enter_context(opened(self._name))
        print(text, file=self._file, flush=True)


def record(result: aphrodite.GenerationResult) -> dict[str, Any]:
    """One result as a JSON object; the first sequence's fields lie at the top, and if n > 1 all are in `outputs`."""
    completion_tokens = sum(len(each.token_ids) for each in result.outputs)
    fields: dict[str, Any] = {"prompt": result.prompt, **_sequence(result.outputs[0])}
    if len(result.outputs) > 1:
        fields["outputs"] = [{"index": each.index, **_sequence(each)} for each in result.outputs]
    if result.prompt_logprobs is not None:
        fields["prompt_logprobs"] = _logprobs(result.prompt_logprobs)
    fields["usage"] = {
        "prompt_tokens": len(result.prompt_token_ids),
        "cached_tokens": result.num_cached_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": len(result.prompt_token_ids) + completion_tokens,
    }
    fields["timing"] = None if result.timing is None else dataclasses.asdict(result.timing)
    return fields


def _sequence(each: aphrodite.CompletionOutput) -> dict[str, Any]:
    fields = {
        "text": each.text,
        "token_ids": list(each.token_ids),
        "finish_reason": each.finish_reason,
        "stop_reason": each.stop_reason,
        "seed": each.seed,
        "logprobs": None if each.logprobs is None else _logprobs(each.logprobs),
    }
    if each.traces is not None:
        fields["traces"] = [[dataclasses.asdict(stage) for stage in stages] for stages in each.traces]
    return fields


def _logprobs(positions: Sequence[Any]) -> list[Any]:
    """A list for each position: the token itself first, then the most likely ones."""
    return [
        position and [{"token_id": token_id, **_candidate(entry)} for token_id, entry in position.items()]
        for position in positions
    ]


def _candidate(entry: aphrodite.Logprob) -> dict[str, Any]:
    """The entropy is the position's: it stands with the first candidate only."""
    fields = dataclasses.asdict(entry)
    return fields if entry.entropy is not None else {name: fields[name] for name in fields if name != "entropy"}
