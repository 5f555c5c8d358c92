"""Sampling fields that are wrong, impossible together, or meant to cost too much, and what is said of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aphrodite_engine.params import DEFAULT_SAMPLER_ORDER, STEP_FIELDS
from tests.service.sampling_cases import CASES


@dataclass(frozen=True)
class Case:
    """Fields of one request.

    Attributes:
        blamed: the field that the error names; "" where there is nothing wrong, and an answer is what is wanted.
        said: a part of the error's message.
    """

    name: str
    fields: dict[str, Any]
    blamed: str = ""
    said: str = ""


def grammar(name: str, kind: str, value: Any, said: str = "") -> Case:
    """One that is refused where `said` says why, and answered otherwise."""
    return Case(name, {"structured_outputs": {kind: value}}, f"structured_outputs.{kind}" if said else "", said)


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "integer"}
    for _ in range(depth):
        schema = {"type": "array", "items": schema}
    return schema


ORDERS = [
    Case("a step with a slip", {"sampler_order": ["top_q"]}, "sampler_order", "did you mean 'top_p'"),
    Case("a step of another engine", {"sampler_order": ["top_k", "typ_p"]}, "sampler_order", "sampler_order='typ_p'"),
    Case("a step in capitals", {"sampler_order": ["Penalties"]}, "sampler_order", "did you mean 'penalties'"),
    Case("a step that is none", {"sampler_order": ["wombat"]}, "sampler_order", DEFAULT_SAMPLER_ORDER[-1]),
    Case("a constraint as a step", {"sampler_order": ["grammar"]}, "sampler_order", "step names are dry"),
    Case("an order that lists nothing", {"sampler_order": []}, "sampler_order", "a list of step names from dry"),
]
TOGETHER = [
    Case("a divisor of almost 0", {"temperature": 1e-9}, "temperature", "0 (greedy), or at least 1e-06"),
    Case("more tokens at least than at most", {"min_tokens": 9, "max_tokens": 8}, "min_tokens", "at most max_tokens=8"),
    Case("a range upside down", {"dynatemp_min": 2, "dynatemp_max": 1}, "dynatemp_min", "at most dynatemp_max=1"),
    Case("a least temperature alone", {"dynatemp_min": 0.5}, "dynatemp_min", "at most dynatemp_max=0"),
    Case("two temperatures", {"dynatemp_max": 1.5, "temperature": 0.7}, "temperature", "dynatemp_max takes its place"),
    Case(
        "adaptive and greedy",
        {"adaptive_target": 0.5, "temperature": 0},
        "adaptive_target",
        "temperature=0 leaves no choice",
    ),
    *(
        Case(
            f"mirostat and {name}", {"mirostat_mode": 2, name: value} | others, name, "mirostat_mode=2 takes the place"
        )
        for name, (value, others) in {
            **{field: (CASES[field][0], {}) for own in STEP_FIELDS.values() for field in own},
            "dynatemp_min": (0.5, {"dynatemp_max": 1.0, "dynatemp_exponent": 1.0}),
            **{field: (CASES[field][0], {}) for field in ("adaptive_target", "sampler_order", "temperature_last")},
        }.items()
        if name != "dynatemp_min"  # without dynatemp_max it is refused for that, with it dynatemp_max is named
    ),
]
PHRASES = [
    Case("a phrase of nothing", {"banned_phrases": [""]}, "banned_phrases", "phrases are non-empty strings"),
    Case("a phrase of a page", {"banned_phrases": ["x" * 600]}, "banned_phrases", "of up to 512 characters, not 600"),
    Case("a word of nothing", {"bad_words": [""]}, "bad_words", "bad words are non-empty strings"),
    Case("a loop of no size", {"repetition_detection": {}}, "repetition_detection", "max_pattern_size and min_count"),
]
_ITSELF = {"$defs": {"t": {"type": "object", "properties": {"next": {"$ref": "#/$defs/t"}}}}, "$ref": "#/$defs/t"}
_TOO_LARGE = "1 to 65,536 characters, not"
_REMOTE = "is not present in a registry"
GRAMMARS = [
    # what does not compile
    grammar("a schema of no type", "json", {"type": "integr"}, "Invalid type: integr"),
    grammar("a schema that is no JSON", "json", "{", "EOF"),
    grammar("a regex that does not close", "regex", "(", "unclosed group"),
    grammar("a regex that looks back", "regex", r"(a)\1", "backreferences are not supported"),
    grammar("Lark with an unknown name", "grammar", "start: x", 'unknown name: "x"'),
    grammar("GBNF with an unknown name", "grammar", "root ::= x", "Rule 'x' not found"),
    grammar("GBNF that does not close", "grammar", 'root ::= ("a"', "Expected ')'"),
    grammar("no grammar at all", "grammar", "nonsense", "Expected ::="),
    grammar("a choice among nothing", "choice", [], "a list of at least one string"),
    # references
    grammar("a remote reference", "json", {"$ref": "http://127.0.0.1:9/x.json"}, _REMOTE),
    grammar("a remote reference within", "json", {"properties": {"a": {"$ref": "https://a.example/s#/a"}}}, _REMOTE),
    grammar("a reference to a file", "json", {"$ref": "file:///etc/passwd"}, _REMOTE),
    grammar("a reference to nowhere", "json", {"$ref": "#/$defs/none"}, "does not exist"),
    grammar("a schema that is only itself", "json", {"$ref": "#"}, "refers to itself"),
    grammar("a schema that contains itself", "json", _ITSELF),
    # what other engines choke on
    grammar("nested repetition", "regex", "(a+)+$"),
    grammar("nested repetition in a pattern", "json", {"type": "string", "pattern": "^(a+)+$"}),
    grammar("ambiguous repetition", "regex", "(a|a)*b(a|aa)+c"),
    grammar("an enum of 10,000 numbers", "json", {"enum": list(range(10_000))}),
    grammar("an enum of 10,000 strings", "json", {"enum": [f"value {i}" for i in range(10_000)]}, _TOO_LARGE),
    grammar("a choice among 10,000", "choice", [f"value {i}" for i in range(10_000)], _TOO_LARGE),
    grammar("50 arrays in each other", "json", nested(50)),
    grammar("5,000 objects in each other", "json", '{"items":' * 5000 + "{}" + "}" * 5000, "recursion limit exceeded"),
    grammar("5,000 groups in each other", "regex", "(" * 5000 + "a" + ")" * 5000, "invalid regex"),
    grammar("5,000 groups of Lark", "grammar", "start: " + "(" * 5000 + '"a"' + ")" * 5000, "too deep"),
    grammar("5,000 groups of GBNF", "grammar", "root ::= " + "(" * 5000 + '"a"' + ")" * 5000, "convert the grammar"),
    grammar("100,000 repetitions", "regex", "a{1,100000}"),
    grammar("100,000 repetitions in Lark", "grammar", 'start: "a"{1,100000}'),
    grammar("100,000 repetitions in GBNF", "grammar", 'root ::= "a"{1,100000}'),
    grammar("100,000 items", "json", {"type": "array", "items": {"type": "integer"}, "minItems": 100_000}),
    grammar("a million repetitions of a group", "regex", "(x{1000}){1000}", "compile"),
    grammar("a large divisor", "json", {"type": "integer", "multipleOf": 99_999_989}, "more than 1 s"),
    grammar("a schema of 1 MB", "json", {"enum": ["x" * 1000] * 1000}, _TOO_LARGE),
    grammar("a schema of 1 MB as text", "json", '{"enum": ["' + "x" * 2**20 + '"]}', _TOO_LARGE),
    grammar("a regex of 1 MB", "regex", "a" * 2**20, _TOO_LARGE),
    grammar("a grammar of 1 MB", "grammar", "start: " + '"a" ' * 2**18, _TOO_LARGE),
]
ALL = [*ORDERS, *TOGETHER, *PHRASES, *GRAMMARS]
