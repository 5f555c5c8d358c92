"""A sequence's way from ids to text, and where it ends."""

from __future__ import annotations

from dataclasses import dataclass

from aphrodite_engine.constraints.stop import StopStrings
from aphrodite_engine.outputs import FinishReason
from aphrodite_engine.request import Request, Sequence
from aphrodite_engine.tokenizer import Tokenizer, incremental_detokenizer


@dataclass(frozen=True)
class End:
    """Why a sequence ended; `reason` None is "it goes on".

    Attributes:
        by: the stop string or id that ended it.
    """

    reason: FinishReason | None = None
    by: int | str | None = None


@dataclass(frozen=True)
class Limits:
    """Where every sequence of a model ends, whatever its request says.

    Attributes:
        max_model_len: tokens of prompt and output.
    """

    eos_token_ids: tuple[int, ...]
    max_model_len: int


class SequenceText:
    """The text of one sequence as its tokens come. Without a tokenizer it stays empty."""

    def __init__(self, request: Request, tokenizer: Tokenizer | None, limits: Limits) -> None:
        params = request.params
        self._params, self._limits = params, limits
        self._detokenizer = incremental_detokenizer(tokenizer, params.skip_special_tokens) if tokenizer else None
        self._stop = StopStrings(params.stop_strings, params.include_stop_str_in_output)

    def add(self, sequence: Sequence, token_id: int) -> tuple[str, End]:
        """New text to show, and whether the sequence ends with its newest token, which is this one."""
        ends_by_id = self._ends_by_id(token_id)
        shown = ""
        if self._detokenizer is not None and not (ends_by_id and not self._params.include_stop_str_in_output):
            stopped = self._stop.add(self._detokenizer.add(token_id), active=self._may_stop(sequence))
            if stopped.stopped_by is not None:
                return stopped.text, End("stop", stopped.stopped_by)
            shown = stopped.text
        if ends_by_id:
            return shown, End("stop", token_id if token_id in self._params.stop_token_ids else None)
        if sequence.grammar is not None and sequence.grammar.is_complete:
            return shown, End("stop")
        return shown, End("length") if self._is_full(sequence) else End()

    def finish(self, sequence: Sequence, end: End) -> str:
        """Text held back as an incomplete character or as the start of a stop string that never came."""
        if self._detokenizer is None or isinstance(end.by, str):
            return ""
        stopped = self._stop.add(self._detokenizer.finish(), active=self._may_stop(sequence))
        return stopped.text + ("" if stopped.stopped_by else self._stop.finish())

    def _may_stop(self, sequence: Sequence) -> bool:
        return sequence.num_output >= self._params.min_tokens

    def _ends_by_id(self, token_id: int) -> bool:
        is_eos = token_id in self._limits.eos_token_ids and not self._params.ignore_eos
        return is_eos or token_id in self._params.stop_token_ids

    def _is_full(self, sequence: Sequence) -> bool:
        most = self._params.max_tokens
        return (most is not None and sequence.num_output >= most) or (
            len(sequence.token_ids) >= self._limits.max_model_len
        )
