"""llguidance behind a few words of our own: the one file that imports it.

Imported when the first grammar is compiled, and by the process that tries grammars (trial.py).
"""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llguidance import LLMatcher, LLParserLimits, LLTokenizer, grammar_from
from tokenizers import AddedToken
from tokenizers import Tokenizer as RustTokenizer

#: Tokens of a random text that a trial writes, and the CPU time one of its masks may take; an ordinary one takes 10 us.
TRIAL_TOKENS = 24
TRIAL_MASK_SECONDS = 0.02

_EXCERPT = re.compile(r"\s*(\d+ \||\^)")
_MAX_REASON = 300
_IN_OUR_WORDS = {"NoExtensionBias": "it refers to itself and says nothing else"}

#: Added to the vocabulary, so that "may end here" has an id of its own whatever EOS ids the model has, none included.
_END = "<|the text may end here|>"

#: JSON is written compactly, or indented: one blank, or a line break and its indentation. Unbounded white space would
#: let a weak model write nothing else. "lenient" would leave out what a schema asks for.
JSON_OPTIONS = {"whitespace_pattern": r"\x20|\n\x20{0,32}", "lenient": False, "coerce_one_of": False}


class GrammarRefused(Exception):
    """Not a grammar, or one that is too much; the message says why."""


@dataclass(frozen=True)
class Vocabulary:
    """A tokenizer as grammars see it.

    Attributes:
        end_id: the bit of a mask that says that the text may end; no token of the model.
        added_ids: of tokens outside the tokenizer's own words, by their text. No string or regex of a grammar matches
            those that are special or in angle brackets.
    """

    tokenizer: LLTokenizer
    end_id: int
    added_ids: Mapping[str, int]

    @classmethod
    def of(cls, tokenizer_json: str, vocab_size: int) -> Vocabulary:
        """From a tokenizer.json, for a model of `vocab_size` ids.

        Raises:
            GrammarRefused: a kind of tokenizer whose tokens are no strings of bytes.
        """
        rust = RustTokenizer.from_str(tokenizer_json)
        rust.add_special_tokens([AddedToken(_END, special=True)])
        end_id = rust.token_to_id(_END)
        assert end_id is not None
        try:
            tokenizer = LLTokenizer(rust.to_str(), n_vocab=max(vocab_size, end_id + 1), eos_token=end_id)
        except ValueError as error:
            raise GrammarRefused(str(error)) from error
        added = rust.get_added_tokens_decoder().items()
        return cls(tokenizer, end_id, {token.content: token_id for token_id, token in added})


def translated(kind: str, text: str) -> str:
    """A json, regex, choice or grammar (Lark, GBNF or llguidance's own) as llguidance's own.

    Raises:
        GrammarRefused: it is not what it says it is.
    """
    try:
        if kind == "json":
            return LLMatcher.grammar_from_json_schema(text, overrides=JSON_OPTIONS)  # type: ignore[arg-type]
        if kind == "choice":
            return LLMatcher.grammar_from_lark("start: " + " | ".join(map(json.dumps, json.loads(text))))
        if kind == "grammar" and text.lstrip().startswith("{"):
            return text
        return grammar_from(kind, text)  # type: ignore[arg-type]
    except (ValueError, RecursionError) as error:
        raise GrammarRefused(str(error) or "it is nested too deeply") from error


def compiled(vocabulary: Vocabulary, grammar: str) -> LLMatcher:
    """A matcher at the beginning of the text, its first mask (the expensive one) computed.

    Raises:
        GrammarRefused: the grammar is wrong, or beyond llguidance's limits.
    """
    matcher = LLMatcher(vocabulary.tokenizer, grammar, log_level=0, limits=LLParserLimits(verbose_errors=False))
    if not matcher.is_error():
        matcher.compute_bitmask()
    if matcher.is_error():
        raise GrammarRefused(reason(matcher))
    return matcher


def reason(matcher: LLMatcher) -> str:
    """Why a matcher gave up, on one line and without the excerpt of the grammar."""
    lines = matcher.get_error().replace("<non-verbose/>", "").splitlines()
    said = " ".join(" ".join(line for line in lines if not _EXCERPT.match(line)).split())
    if len(said) > _MAX_REASON:  # a long expression is quoted, and what is wrong with it comes behind
        said = f"{said[: _MAX_REASON // 3]} ... {said[-_MAX_REASON // 2 :]}"
    return _IN_OUR_WORDS.get(said, said)


def after_a_thought(vocabulary: Vocabulary, grammar: str, opening: str, closing: str) -> str:
    """The grammar, behind free text from `opening` to `closing`: one that may be missing or, where `opening` is empty,
    one that has begun."""
    is_lark = not grammar.lstrip().startswith("{")
    grammars: list[dict[str, Any]] = [{"lark_grammar": grammar}] if is_lark else json.loads(grammar)["grammars"]
    grammars[0]["name"] = "answer"
    added = vocabulary.added_ids
    lead = "thought" if not opening else f"({_literal(added, opening)} thought)?"
    if closing in added:
        thought = f"thought: /(?s:.*)/ <[{added[closing]}]>"
    else:
        thought = f"thought[suffix={json.dumps(closing)}]: /(?s:.*)/"
    lark = f"start: {lead} BLANKS? @answer\n{thought}\nBLANKS: /[ \\n]{{1,4}}/"
    return json.dumps({"grammars": [{"name": "reply", "lark_grammar": lark}, *grammars]})


def _literal(added: Mapping[str, int], text: str) -> str:
    return f"<[{added[text]}]>" if text in added else json.dumps(text)


def tried(vocabulary: Vocabulary, kind: str, text: str, after: Sequence[str]) -> str:
    """The translated grammar, once a random text has been written with it.

    Args:
        after: () or (opening, closing) of a thought.

    Raises:
        GrammarRefused: also when it is too slow, or finds no text.
    """
    grammar = translated(kind, text)
    matcher, dice = compiled(vocabulary, grammar), random.Random(0)
    for _ in range(TRIAL_TOKENS):
        started = time.thread_time()
        mask = matcher.compute_bitmask()
        seconds = time.thread_time() - started
        if matcher.is_error():
            raise GrammarRefused(reason(matcher))
        if seconds > TRIAL_MASK_SECONDS:
            raise GrammarRefused(f"it takes {1e3 * seconds:.0f} ms a token, at most {1e3 * TRIAL_MASK_SECONDS:.0f}")
        if matcher.is_stopped():
            break
        if not matcher.consume_token(_any_of(mask, dice, vocabulary.end_id)):
            raise GrammarRefused(reason(matcher) or "it allows no text")
    return after_a_thought(vocabulary, grammar, *after) if after else grammar


def _any_of(mask: bytes, dice: random.Random, end_id: int) -> int:
    """Some allowed token other than the end; the end where there is no other."""
    bits = int.from_bytes(mask, "little") & ~(1 << end_id)
    if not bits:
        return end_id
    place = dice.randrange(bits.bit_length())
    rest = bits >> place  # not empty: the highest bit is at or above `place`
    return place + (rest & -rest).bit_length() - 1
