"""What the model is asked: held-out items with checkable answers, stories, and lists that go round in circles.

The folder of the bundled model's training must be on the path (`study` sees to it); items and judges are its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from experiments.demo_model.evaluate import ANIMALS, EXAMS, Exam, Item, Split, chat, stories
from experiments.samplers.settings import SKILLS

SEED = 7
STORY = "Once upon a time"
#: Word lists of the loop prompts; the hobbies are no single words.
_LISTS = (list(stories.CHOICES["color"]), ANIMALS, list(stories.CHOICES["thing"]))


@dataclass(frozen=True)
class Question:
    """A held-out item of a skill as the prompt that the model sees."""

    prompt: str
    item: Item
    exam: Exam

    def is_right(self, answer: str) -> bool:
        return self.exam.judge(answer, self.item)


def questions(skill: str, count: int) -> list[Question]:
    """Different held-out items of a skill, the same ones every time."""
    exam, random = EXAMS[SKILLS[skill]], Random(SEED)
    found: dict[str, Question] = {}
    while len(found) < count:
        item = exam.generator(random, Split.HELD_OUT)
        prompt = chat.prompt(item)
        found[prompt] = Question(prompt, item, exam)
    return list(found.values())


def circles(count: int) -> list[str]:
    """Prompts that say three words three times over: a text model's cue to say them for ever."""
    random = Random(SEED)
    return [_three_times(random.sample(random.choice(_LISTS), 3)) for _ in range(count)]


def _three_times(said: Sequence[str]) -> str:
    return f"{', '.join([*said] * 3)},"
