"""One choice of a text completion as it grows: its text, and its log-probabilities in that route's own shape."""

from __future__ import annotations

import codecs

import msgspec
from msgspec import UNSET, UnsetType

from aphrodite.service.engines.boundary import Token, TokenLogprob
from aphrodite.service.openai.shapes import finite, finite_or_none
from aphrodite.service.traces import Traces, traces_of

#: Characters that may lie between two tokens' texts (a space that a tokenizer drops, text that was held back).
_GAP = 64
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

Candidates = list[TokenLogprob]


class Logprobs(msgspec.Struct):
    """Lists with an entry for each token.

    Attributes:
        tokens: texts; a token that is only a part of a character is written "bytes:\\xe2\\x80".
        token_logprobs: null for the first token of an echoed prompt, which nothing comes before.
        top_logprobs: the most likely tokens, and the token itself.
        text_offset: where in the choice's text the token begins; tokens without a text of their own (the begin token,
            an end token) take no room.
        raw_logprobs, processed_logprobs: in the model's own distribution and in what the token was drawn from, whatever
            `logprobs_mode` says of the others; null for tokens of an echoed prompt, which were not drawn.
    """

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]
    raw_logprobs: list[float | None]
    processed_logprobs: list[float | None]

    @classmethod
    def none(cls) -> Logprobs:
        """Of no token."""
        return cls([], [], [], [], [], [])

    def join(self, more: Logprobs) -> None:
        """Append what came after."""
        self.tokens += more.tokens
        self.token_logprobs += more.token_logprobs
        self.top_logprobs += more.top_logprobs
        self.text_offset += more.text_offset
        self.raw_logprobs += more.raw_logprobs
        self.processed_logprobs += more.processed_logprobs


class PromptLogprob(msgspec.Struct):
    logprob: float
    rank: int
    decoded_token: str


class Choice(msgspec.Struct, kw_only=True):
    """A choice, or the next piece of one in a stream.

    Attributes:
        seed: the one its prompt was completed with.
        prompt_logprobs: a mapping from token id for each token of the prompt, null for the first.
        traces: where `trace` asked for them: of each token that was drawn, every stage of sampling in order.
    """

    index: int
    text: str
    logprobs: Logprobs | None = None
    finish_reason: str | None = None
    stop_reason: int | str | None = None
    seed: int
    token_ids: list[int] | UnsetType = UNSET
    prompt_token_ids: list[int] | UnsetType = UNSET
    prompt_logprobs: list[dict[str, PromptLogprob] | None] | UnsetType = UNSET
    traces: Traces | UnsetType = UNSET

    @property
    def says_something(self) -> bool:
        """Whether a stream's client would miss this piece."""
        has_logprobs = self.logprobs is not None and bool(self.logprobs.tokens)
        has_ids = bool(self.token_ids) or bool(self.prompt_token_ids)
        has_more = bool(self.prompt_logprobs) or bool(self.traces)
        return bool(self.text or self.finish_reason or has_logprobs or has_ids or has_more)

    def join(self, more: Choice) -> None:
        """Append the next piece."""
        self.text += more.text
        self.finish_reason, self.stop_reason = more.finish_reason, more.stop_reason
        if self.logprobs is not None and more.logprobs is not None:
            self.logprobs.join(more.logprobs)
        if self.token_ids is not UNSET and more.token_ids is not UNSET:
            self.token_ids += more.token_ids
        if self.traces is not UNSET and more.traces is not UNSET:
            self.traces += more.traces


class ChoiceWriter:
    """Turns one sequence's tokens into pieces of a choice.

    Args:
        num_logprobs: how many of the most likely tokens to name; None where none was asked for.
        with_ids, with_traces: whether to give token ids, and stages.
    """

    def __init__(self, index: int, seed: int, num_logprobs: int | None, *, with_ids: bool, with_traces: bool) -> None:
        self.index, self.seed = index, seed
        self._num_logprobs, self._with_ids, self._with_traces = num_logprobs, with_ids, with_traces
        self._places = _Places()
        self._logprob_sum, self._num_tokens = 0.0, 0

    @property
    def mean_logprob(self) -> float:
        """Of the tokens drawn so far; what best_of ranks by."""
        return self._logprob_sum / max(self._num_tokens, 1)

    def begin(self, echoed: str, first_token: str, prompt: list[Candidates | None] | None) -> Choice:
        """The piece before the first token.

        Args:
            echoed: the prompt's text where it is echoed.
            first_token: text of the prompt's first token.
            prompt: candidates at each position of an echoed prompt whose log-probabilities were asked for.
        """
        choice = Choice(
            index=self.index, text=echoed, seed=self.seed, token_ids=[] if self._with_ids else UNSET,
            traces=[] if self._with_traces else UNSET,
        )  # fmt: skip
        if self._num_logprobs is not None:
            self._places.show(echoed)
            choice.logprobs = Logprobs.none()
            first = _first_bytes(first_token, echoed, prompt or [])
            for candidates in prompt or ():
                choice.logprobs.join(self._position(candidates) if candidates else self._first(first))
        return choice

    def add(self, token: Token) -> Choice:
        """The piece that a step brought."""
        goes_round = token.finish_reason == "repetition"
        choice = Choice(
            index=self.index, text=token.text, seed=self.seed,
            finish_reason="length" if goes_round else token.finish_reason,
            stop_reason="repetition" if goes_round else token.stop_reason,
            token_ids=list(token.token_ids) if self._with_ids else UNSET,
        )  # fmt: skip
        if (traces := traces_of(token)) is not None:
            choice.traces = traces
        self._num_tokens += len(token.token_ids)
        self._logprob_sum += sum(candidates[0].logprob for candidates in token.logprobs or ())
        if self._num_logprobs is not None:
            self._places.show(token.text)
            choice.logprobs = Logprobs.none()
            for candidates in token.logprobs or ():
                choice.logprobs.join(self._position(candidates))
        return choice

    def _position(self, candidates: Candidates) -> Logprobs:
        drawn = candidates[0]
        likely = sorted(candidates, key=lambda candidate: candidate.rank)[: self._num_logprobs]
        top = {_shown(c.raw): finite(c.logprob) for c in [*likely, drawn]}
        return Logprobs(
            [_shown(drawn.raw)], [finite(drawn.logprob)], [top], [self._places.of(drawn.raw)],
            [finite_or_none(drawn.raw_logprob)], [finite_or_none(drawn.processed_logprob)],
        )  # fmt: skip

    def _first(self, raw: bytes) -> Logprobs:
        return Logprobs([_shown(raw)], [None], [None], [self._places.of(raw)], [None], [None])


class _Places:
    """Where in a growing text its tokens begin: each is looked for from where the last one ended."""

    def __init__(self) -> None:
        self._text = ""
        self._end = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def show(self, text: str) -> None:
        self._text += text

    def of(self, raw: bytes) -> int:
        """Where a token with these bytes begins."""
        # A broken character before this token shows now, as one replacement character in front of its own text.
        own = self._breaks(raw)
        piece = self._decoder.decode(raw)
        rest = len(self._text) - self._end
        found = self._text.find(piece, self._end, self._end + _GAP + len(piece))
        if found < 0 and 0 < rest < len(piece) and piece.startswith(self._text[self._end :]):
            found = self._end  # its end is held back: it may be the start of a stop string
        if found < 0:
            return self._end
        self._end = min(found + len(piece), len(self._text))
        return found + own

    def _breaks(self, raw: bytes) -> bool:
        """Whether an incomplete character waits that these bytes do not go on with."""
        waiting: bytes = self._decoder.getstate()[0]
        try:
            codecs.getincrementaldecoder("utf-8")("strict").decode(waiting + raw[:1])
        except UnicodeDecodeError:
            return bool(waiting)
        return False


def _shown(raw: bytes) -> str:
    """A token's text; its bytes where it is only a part of a character."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in raw)


def _first_bytes(text: str, echoed: str, prompt: list[Candidates | None]) -> bytes:
    """Of the prompt's first token, which has no candidates to tell them: what the others leave of the prompt."""
    if _REPLACEMENT not in text:
        return text.encode()
    data = echoed.encode()
    return data[: len(data) - sum(len(candidates[0].raw) for candidates in prompt if candidates)]


def prompt_logprobs(positions: list[Candidates | None], count: int) -> list[dict[str, PromptLogprob] | None]:
    """Of each position the prompt's own token and the `count` most likely, by token id."""
    return [None if found is None else _by_id(found, count) for found in positions]


def _by_id(candidates: Candidates, count: int) -> dict[str, PromptLogprob]:
    kept = [c for place, c in enumerate(candidates) if place == 0 or c.rank <= count]
    return {str(c.token_id): PromptLogprob(finite(c.logprob), c.rank, c.text) for c in kept}
