"""The one command: `python experiments/samplers/study.py [--quick] [--only FAMILY ...]`.

Asks the bundled model the same things under every setting of `settings`, and writes results/study.json, figure.svg and
the tables of README.md. Seeds are fixed and draws depend on the request alone, so that every number comes again to the
last bit. `--quick` does a small part in seconds, for a look and for the test that compares it with results/quick.json.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parent / "demo_model")]

from aphrodite import LLM, SamplingParams  # noqa: E402
from aphrodite_engine.outputs import CompletionOutput  # noqa: E402
from experiments.samplers import figure, measures, report, settings, tasks  # noqa: E402
from experiments.samplers.findings import Findings, Result  # noqa: E402
from experiments.samplers.settings import SKILLS, Setting, Sizes  # noqa: E402
from experiments.samplers.story_grammar import told  # noqa: E402

RESULTS = HERE / "results"
_STORY_TOKENS, _LIST_TOKENS = 220, 60


@dataclass(frozen=True)
class Ask:
    """One request: a prompt as token ids, and how it is answered."""

    prompt: list[int]
    params: SamplingParams


class Study:
    """One model and what it is asked, ready for any number of settings.

    Args:
        llm: its tokens are what the prompts are made of.
    """

    def __init__(self, llm: LLM, sizes: Sizes) -> None:
        self._llm = llm
        self._questions = [q for skill in SKILLS for q in tasks.questions(skill, sizes.questions)]
        self._prompts = [llm.tokenize(question.prompt, add_special_tokens=False) for question in self._questions]
        self._story, self._sizes = llm.tokenize(tasks.STORY), sizes
        self._circles = tasks.circles(sizes.lists)
        self._neutral: list[bool] = []

    def measure(self, setting: Setting) -> Result:
        """All numbers of one setting; the first one measured is what the others are compared with."""
        outputs = self._answers(setting)
        marks = [q.is_right(output.text) for q, output in zip(self._questions, outputs, strict=False)]
        self._neutral = self._neutral or marks
        told = outputs[len(marks) : len(marks) + self._sizes.stories]
        return {
            "family": setting.family,
            "label": setting.label,
            "fields": dict(setting.fields),
            "skills": self._skills(marks),
            "stories": _stories(told),
            "lists": self._lists(outputs[len(marks) + len(told) :]),
            "tokens": sum(len(output.token_ids) for output in outputs),
            "digest": _digest(outputs),
        }

    def _answers(self, setting: Setting) -> list[CompletionOutput]:
        asks = [*self._question_asks(setting), *self._story_asks(setting), *self._list_asks(setting)]
        results = self._llm.generate([ask.prompt for ask in asks], [ask.params for ask in asks])
        return [result.outputs[0] for result in results]

    def _question_asks(self, setting: Setting) -> list[Ask]:
        return [
            Ask(prompt, _params(setting, at, max_tokens=question.exam.limit))
            for at, (question, prompt) in enumerate(zip(self._questions, self._prompts, strict=True))
        ]

    def _story_asks(self, setting: Setting) -> list[Ask]:
        what = {"max_tokens": _STORY_TOKENS, "logprobs": 0, "logprobs_mode": "processed"}
        return [Ask(self._story, _params(setting, at, **what)) for at in range(self._sizes.stories)]

    def _list_asks(self, setting: Setting) -> list[Ask]:
        prompts = [self._llm.tokenize(text) for text in self._circles]
        what = {"max_tokens": _LIST_TOKENS, "ignore_eos": True}
        return [Ask(prompt, _params(setting, at, **what)) for at, prompt in enumerate(prompts)]

    def _skills(self, marks: Sequence[bool]) -> dict[str, dict[str, int]]:
        """Of each skill: right answers, and answers that are right (`won`) or wrong (`lost`) other than neutral's."""
        size, found = self._sizes.questions, {}
        for place, skill in enumerate(SKILLS):
            pairs = list(zip(marks, self._neutral, strict=True))[place * size : (place + 1) * size]
            found[skill] = {
                "right": sum(mark for mark, _ in pairs),
                "won": sum(mark and not before for mark, before in pairs),
                "lost": sum(before and not mark for mark, before in pairs),
            }
        return found

    def _lists(self, outputs: Sequence[CompletionOutput]) -> dict[str, float]:
        said = [measures.words_of(output.text) for output in outputs]
        prompts = [measures.words_of(text) for text in self._circles]
        return {
            "repeated": round(measures.repeated(list(zip(prompts, said, strict=True))), 4),
            "loops": sum(map(measures.ends_in_a_loop, said)),
        }


def _params(setting: Setting, at: int, **what: Any) -> SamplingParams:
    return SamplingParams.from_fields({**setting.fields, "seed": setting.shift + at, **what})


def _stories(outputs: Sequence[CompletionOutput]) -> dict[str, float]:
    texts = [tasks.STORY + output.text for output in outputs]
    words, tellings = [measures.words_of(text) for text in texts], [told(text) for text in texts]
    entropies = [entropy for output in outputs for entropy in _entropies(output)]
    return {
        "told_right": sum(one.whole for one in tellings),
        "sentences_right": round(sum(one.sentences for one in tellings) / len(texts), 3),
        "different": len(set(texts)),
        **{f"distinct_{n}": round(measures.distinct(words, n), 4) for n in (1, 2, 3)},
        "overlap": round(measures.overlap(words), 4),
        "repeated": round(measures.repeated([((), text) for text in words]), 4),
        "loops": sum(map(measures.ends_in_a_loop, words)),
        "ended": sum(output.finish_reason == "stop" for output in outputs),
        "words": round(sum(map(len, words)) / len(words), 1),
        "entropy": round(sum(entropies) / len(entropies), 4),
    }


def _entropies(output: CompletionOutput) -> list[float]:
    """Of what each token was drawn from, in nats."""
    found = [next(iter(position.values())).entropy for position in output.logprobs or []]
    return [entropy for entropy in found if entropy is not None]


def _digest(outputs: Sequence[CompletionOutput]) -> str:
    """A fingerprint of every token that was drawn."""
    return hashlib.sha256(json.dumps([output.token_ids for output in outputs]).encode()).hexdigest()[:16]


def run(chosen: Sequence[Setting], sizes: Sizes) -> Iterator[Findings]:
    """Measure the settings one after the other, neutral first, and say so; gives all there is after each."""
    findings = Findings(sizes, [], f"Measured on {_processor()} with torch {torch.__version__}, float32")
    with LLM("demo") as llm:
        study = Study(llm, sizes)
        for setting in chosen:
            began = time.perf_counter()
            result = study.measure(setting)
            print(f"{report.line(findings, result)}  {time.perf_counter() - began:.1f} s", flush=True)
            findings = replace(findings, results=[*findings.results, result])
            yield findings


def _processor() -> str:
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"


def merged(old: Sequence[Result], new: Sequence[Result], order: Sequence[Setting]) -> list[Result]:
    """The new results and, of settings that were not measured again, the old ones, in the order of the settings."""
    found = {(result["family"], result["label"]): result for result in [*old, *new]}
    return [found[key] for setting in order if (key := (setting.family, setting.label)) in found]


def main() -> None:
    """Measure, write, draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a small part, in seconds; leaves README.md alone")
    parser.add_argument("--only", nargs="+", default=[], metavar="FAMILY", help="measure these families anew")
    parser.add_argument("--out", type=Path, help="where to write the results (results/study.json or quick.json)")
    options = parser.parse_args()
    every = settings.QUICK if options.quick else settings.everything()
    sizes, file = (settings.QUICK_SIZES, "quick.json") if options.quick else (settings.FULL_SIZES, "study.json")
    _check_families(parser, options.only, every)
    chosen = [s for s in every if s is settings.NEUTRAL or not options.only or s.family in options.only]
    target = options.out or RESULTS / file
    old = Findings.load(target).results if options.only and target.exists() else []
    for found in run(chosen, sizes):
        found = replace(found, results=merged(old, found.results, every))
        found.save(target)  # after each, so that an interrupt loses one
    if target == RESULTS / "study.json":
        publish(Findings.load(target))


def publish(found: Findings) -> None:
    """The figure, and the tables of README.md."""
    (HERE / "figure.svg").write_text(figure.draw(found))
    report.refresh(found)


def _check_families(parser: argparse.ArgumentParser, asked: Sequence[str], every: Sequence[Setting]) -> None:
    known = list(dict.fromkeys(setting.family for setting in every))
    if unknown := [name for name in asked if name not in known]:
        parser.error(f"no such family {unknown[0]!r}; known: {', '.join(known)}")


if __name__ == "__main__":
    main()
