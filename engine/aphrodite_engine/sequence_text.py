"""A sequence's way from ids to text: what of it may be shown, and where it ends."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from aphrodite_engine.constraints.loops import LoopWatch
from aphrodite_engine.constraints.phrases import PhraseWatch
from aphrodite_engine.constraints.stop import StopStrings
from aphrodite_engine.outputs import FinishReason, PositionLogprobs, PositionTrace
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

    def is_full(self, sequence: Sequence, unread: int = 0) -> bool:
        """Whether it ends here for its length, with so many tokens more than the host knows."""
        most = sequence.request.params.max_tokens
        has_all = most is not None and sequence.num_output + unread >= most
        return has_all or len(sequence.token_ids) + unread >= self.max_model_len


@dataclass(frozen=True)
class Reported:
    """An output token and what is reported of it; None is not asked for.

    Attributes:
        given: its text, where it was given and not drawn.
    """

    token_id: int
    logprobs: PositionLogprobs | None = None
    trace: PositionTrace | None = None
    given: str | None = None


@dataclass(frozen=True)
class News:
    """What a token brought.

    Attributes:
        text, tokens: what became certain with it, earlier tokens included; often nothing.
        take_back: position of the token in which a banned phrase begins, in place of all the rest.
    """

    text: str = ""
    tokens: tuple[Reported, ...] = ()
    end: End = End()
    take_back: int | None = None


def as_one(several: list[News]) -> News:
    """What several tokens brought, one after the other, as if at once."""
    tokens = tuple(token for news in several for token in news.tokens)
    return News("".join(news.text for news in several), tokens, several[-1].end)


@dataclass(frozen=True)
class _Draft:
    """A token on its way, or, where it is None, text that was left when its sequence was ended.

    Attributes:
        position: in its sequence.
        end: whether the sequence ends with it, whatever its text says.
        before: the states of detokenizer and watch for loops in front of it.
        begins_inside: it goes on with a character that an earlier token began.
    """

    token: Reported | None
    text: str = ""
    position: int = 0
    end: End = End()
    before: tuple[Any, Any] = (None, None)
    begins_inside: bool = False


class SequenceText:
    """The text of one sequence as its tokens come. Without a tokenizer it stays empty.

    A token's text first passes the watch for banned phrases, which may hold the token or take it back; what stands then
    passes the stop strings.

    Attributes:
        num_shown: tokens told of so far.
    """

    def __init__(self, request: Request, tokenizer: Tokenizer | None, limits: Limits) -> None:
        params = request.params
        self._params, self._limits = params, limits
        self._detokenizer = incremental_detokenizer(tokenizer, params.skip_special_tokens) if tokenizer else None
        self._phrases = PhraseWatch[_Draft](params.banned_phrases) if params.banned_phrases else None
        self._stop = StopStrings(params.stop_strings, params.include_stop_str_in_output)
        self._loops = LoopWatch(params.detection) if params.detection else None
        self.num_shown = 0

    def add(self, sequence: Sequence, token: Reported) -> News:
        """What the sequence's newest token, which is this one, brings."""
        draft = self._draft(sequence, token)
        news = self._judge(draft)
        if self._phrases is not None and news.tokens:
            sequence.move_on(sequence.prompt_len + self.num_shown)
        return news

    def give(self, sequence: Sequence, token: Reported) -> News:
        """What the sequence's newest token brings where it was given: it stands, whatever phrase it belongs to."""
        draft = self._draft(sequence, token)
        if self._phrases is not None:
            self._phrases.give(draft.text)
            sequence.move_on(len(sequence.token_ids))
        return self._tell([draft], draft.end)

    def close(self, end: End) -> News:
        """What is left of a sequence that is ended from outside: held text is given, since no phrase came of it."""
        news = self._judge(_Draft(None, self._detokenizer.finish() if self._detokenizer else "", end=end))
        return self._tell(self._phrases.finish(), end) if self._phrases and news.take_back is not None else news

    def _judge(self, draft: _Draft) -> News:
        """Hold the token, or take one back, or tell of all that stands."""
        if self._phrases is None:
            return self._tell([draft], draft.end)
        ends_inside = self._detokenizer is not None and self._detokenizer.is_inside
        found = self._phrases.add(draft, draft.text, begins_inside=draft.begins_inside, ends_inside=ends_inside)
        if found is not None:
            self._rewind(found)
            return News(take_back=found.position)
        return self._tell(self._phrases.finish() if draft.end.reason else self._phrases.release(), draft.end)

    def _tell(self, drafts: Iterable[_Draft], end: End) -> News:
        """Let what stands pass: it is told up to where the text ends."""
        text, tokens = "", []
        for draft in drafts:
            if draft.token is not None:
                tokens.append(draft.token)
                self.num_shown += 1
            stopped = self._stop.add(draft.text, active=self.num_shown >= self._params.min_tokens)
            text += stopped.text
            if stopped.stopped_by is not None:
                return News(text, tuple(tokens), End("stop", stopped.stopped_by))
        return News(text + (self._stop.finish() if end.reason else ""), tuple(tokens), end)

    def _draft(self, sequence: Sequence, token: Reported) -> _Draft:
        detokenizer, position = self._detokenizer, len(sequence.token_ids) - 1
        before = detokenizer and detokenizer.mark(), self._loops and self._loops.mark()
        end = self._natural_end(sequence, token.token_id)
        if detokenizer is None:
            return _Draft(token, position=position, end=end, before=before)
        begins_inside = detokenizer.is_inside
        text = detokenizer.add(token.token_id) if self._shows(token.token_id) else ""
        text += detokenizer.finish() if end.reason else ""
        return _Draft(token, text, position, end, before, begins_inside)

    def _rewind(self, draft: _Draft) -> None:
        detokenizer, loops = draft.before
        if self._detokenizer is not None and detokenizer is not None:
            self._detokenizer.rewind(detokenizer)
        if self._loops is not None and loops is not None:
            self._loops.rewind(loops)

    def _natural_end(self, sequence: Sequence, token_id: int) -> End:
        """Whether its newest token ends a sequence, whatever the text says."""
        goes_round = self._loops is not None and self._loops.add(token_id)
        if self._ends_by_id(token_id):
            return End("stop", token_id if token_id in self._params.stop_token_ids else None)
        if sequence.grammar is not None and sequence.grammar.is_complete:
            return End("stop")
        if goes_round and sequence.num_output >= self._params.min_tokens:
            return End("repetition")
        return End("length") if self._limits.is_full(sequence) else End()

    def _shows(self, token_id: int) -> bool:
        return self._params.include_stop_str_in_output or not self._ends_by_id(token_id)

    def _ends_by_id(self, token_id: int) -> bool:
        is_eos = token_id in self._limits.eos_token_ids and not self._params.ignore_eos
        return is_eos or token_id in self._params.stop_token_ids
