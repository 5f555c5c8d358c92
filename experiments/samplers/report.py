"""The findings in words: a line while the study runs, and the tables of README.md."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from experiments.samplers.findings import Findings, Result, count
from experiments.samplers.measures import proportion_error
from experiments.samplers.settings import SKILLS

README = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- tables -->", "<!-- end of tables -->"
#: A difference of so many standard errors is bold: of a hundred comparisons chance alone makes a third of one.
CLEAR = 3.0
_MAIN = ("setting", "exact %", "against neutral", "told right %", "sentences", "distinct-2", "overlap", "different %",
         "entropy", "lists repeat %", "lists loop %")  # fmt: skip
_SKILLS = ("setting", *(f"{skill} %" for skill in SKILLS), "distinct-1", "distinct-3", "repeated %", "ended %", "words")


def line(findings: Findings, result: Result) -> str:
    """What is printed when a setting is done."""
    stories, lists = result["stories"], result["lists"]
    name = f"{result['family']}: {result['label']}"
    return (
        f"{name:42} exact {findings.exact(result):6.1%}  sentences {stories['sentences_right']:.2f}"
        f"  distinct-2 {stories['distinct_2']:.3f}  overlap {stories['overlap']:.3f}"
        f"  lists repeat {lists['repeated']:4.0%}"
    )


def refresh(findings: Findings, readme: Path = README) -> None:
    """Put the current tables between the README's two marks."""
    before, rest = readme.read_text().split(BEGIN, 1)
    readme.write_text(f"{before}{BEGIN}\n\n{tables(findings)}\n{END}{rest.split(END, 1)[1]}")


def tables(findings: Findings) -> str:
    """Skill and diversity, then what else was counted, a block a family."""
    return "\n".join(
        [
            *_table(findings, _MAIN, _main_cells),
            f"\n{_legend(findings)}\n\n<details><summary>Skill by skill, and more of the stories</summary>\n",
            *_table(findings, _SKILLS, _skill_cells),
            "\n</details>\n",
        ]
    )


def _table(findings: Findings, head: Sequence[str], cells: Callable[[Findings, Result], tuple[str, ...]]) -> list[str]:
    lines = [_row(head), _row(("---",) * len(head))]
    for family, results in findings.families:
        lines.append(_row((f"**{family}**", *("",) * (len(head) - 1))))
        lines += [_row((result["label"], *cells(findings, result))) for result in results]
    return lines


def _main_cells(findings: Findings, result: Result) -> tuple[str, ...]:
    stories, lists, sizes = result["stories"], result["lists"], findings.sizes
    return (
        f"{100 * findings.exact(result):.1f}",
        _difference(findings, result),
        f"{100 * stories['told_right'] / sizes.stories:.0f}",
        f"{stories['sentences_right']:.2f}",
        f"{stories['distinct_2']:.3f}",
        f"{stories['overlap']:.3f}",
        f"{100 * stories['different'] / sizes.stories:.0f}",
        f"{stories['entropy']:.2f}",
        f"{100 * lists['repeated']:.0f}",
        f"{100 * lists['loops'] / sizes.lists:.0f}",
    )


def _skill_cells(findings: Findings, result: Result) -> tuple[str, ...]:
    stories, sizes = result["stories"], findings.sizes
    return (
        *(f"{100 * result['skills'][skill]['right'] / sizes.questions:.1f}" for skill in SKILLS),
        f"{stories['distinct_1']:.3f}",
        f"{stories['distinct_3']:.3f}",
        f"{100 * stories['repeated']:.1f}",
        f"{100 * stories['ended'] / sizes.stories:.0f}",
        f"{stories['words']:.0f}",
    )


def _difference(findings: Findings, result: Result) -> str:
    found = findings.difference(result)
    if not found.changed:
        return "every answer the same"
    text = f"{100 * found.points:+.1f} ± {100 * found.error:.1f}"
    return f"**{text}**" if abs(found.points) >= CLEAR * found.error else text


def _legend(findings: Findings) -> str:
    neutral, sizes = findings.results[0], findings.sizes
    whole = proportion_error(count(neutral, "right"), findings.items)
    one = max(proportion_error(marks["right"], sizes.questions) for marks in neutral["skills"].values())
    told = proportion_error(neutral["stories"]["told_right"], sizes.stories)
    return (
        f"{sizes.questions} questions a skill, {sizes.stories} stories and {sizes.lists} lists under each setting. "
        f"Binomial standard errors at neutral: exact {100 * whole:.1f} points, one skill up to {100 * one:.1f}, told "
        f"right {100 * told:.1f}. Bold: {CLEAR:g} paired standard errors or more. {findings.measured_on}."
    )


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
