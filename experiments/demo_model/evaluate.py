"""The exam: held-out items of every skill, answered greedily, right or wrong to the letter."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import chat
from export import load
from generate import complete
from model import Llama
from skills import arithmetic, instructions, json_fill, lists, openers, recall, stories, tools
from skills.item import Generator, Item, Split
from skills.words import ANIMALS
from tokenizers import Tokenizer

SEED = 7
Judge = Callable[[str, Item], bool]


@dataclass(frozen=True)
class Exam:
    """A skill in the exam: where its items come from, how long an answer may be, and who decides if it is right."""

    generator: Generator
    limit: int
    judge: Judge


def exact(answer: str, item: Item) -> bool:
    """The same text as expected."""
    return answer == chat.spoken(item.messages[-1])


def keeps_the_hero(answer: str, item: Item) -> bool:
    """A story names the animal and the name it was asked for in its first sentence, and it comes to an end."""
    question = [word.strip(".,?") for word in item.messages[-2]["content"].split()]
    hero = [word for word in question[1:] if word in ANIMALS or (word[0].isupper() and word != "I")]
    first = [word.strip(".,") for word in answer.split(".")[0].split()]
    return answer.endswith((".", '"')) and all(word in first for word in hero)


def scattered_in(tokens: int) -> Generator:
    """Three to fourteen facts among sentences that say nothing, in a prompt of about so many tokens."""

    def generator(random: Random, split: Split) -> Item:
        return recall.scattered(random, split, int(tokens / 8.2), 1)

    return generator


def dense(random: Random, split: Split) -> Item:
    """About fifty facts and nearly nothing else in a prompt of about 450 tokens."""
    return recall.passage(random, split, 51, 1)


EXAMS: dict[str, Exam] = {
    "addition": Exam(arithmetic.addition, 8, exact),
    "subtraction": Exam(arithmetic.subtraction, 8, exact),
    "copy": Exam(lists.copying, 64, exact),
    "sort": Exam(lists.sorting, 48, exact),
    "reverse": Exam(lists.reversing, 48, exact),
    "recall_256": Exam(scattered_in(256), 24, exact),
    "recall_512": Exam(scattered_in(512), 24, exact),
    "recall_1024": Exam(scattered_in(1024), 24, exact),
    "recall_2048": Exam(scattered_in(2048), 24, exact),
    "recall_dense": Exam(dense, 24, exact),
    "json": Exam(json_fill.json_filling, 64, exact),
    "tool_call": Exam(tools.tool_call, 80, exact),
    "tool_reply": Exam(tools.tool_reply, 48, exact),
    "no_tool": Exam(tools.no_tool, 48, exact),
    "opener": Exam(openers.opener, 48, exact),
    "upper_case": Exam(instructions.upper_case, 64, exact),
    "closing_word": Exam(instructions.closing_word, 64, exact),
    "persona": Exam(instructions.persona, 32, exact),
    "story": Exam(stories.story, 260, keeps_the_hero),
}


@dataclass(frozen=True)
class Mark:
    """The outcome of one exam."""

    right: int
    items: int
    mean_prompt_tokens: float
    wrong: list[tuple[str, str, str]]


def examine(model: Llama, tokenizer: Tokenizer, exam: Exam, count: int) -> Mark:
    """Ask `count` different held-out items, all short enough that the answer has room."""
    room = model.shape.max_position_embeddings - exam.limit
    random = Random(SEED)
    items: dict[str, Item] = {}
    while len(items) < count:
        item = exam.generator(random, Split.HELD_OUT)
        prompt = chat.prompt(item)
        if len(tokenizer.encode(prompt, add_special_tokens=False).ids) <= room:
            items[prompt] = item
    answers = complete(model, tokenizer, list(items), exam.limit)
    wrong = [
        (prompt, chat.spoken(item.messages[-1]), answer)
        for (prompt, item), answer in zip(items.items(), answers, strict=True)
        if not exam.judge(answer, item)
    ]
    lengths = [len(tokenizer.encode(prompt, add_special_tokens=False).ids) for prompt in items]
    return Mark(count - len(wrong), count, sum(lengths) / count, wrong)


def main(folder: Path, count: int, names: list[str]) -> None:
    """A quick look at some skills: `python evaluate.py FOLDER COUNT [SKILL ...]`, with a few wrong answers of each."""
    model, tokenizer = load(folder), Tokenizer.from_file(str(folder / "tokenizer.json"))
    for name in names or list(EXAMS):
        mark = examine(model, tokenizer, EXAMS[name], count)
        print(f"{name:14} {mark.right / mark.items:6.1%}  of {mark.items}, {mark.mean_prompt_tokens:.0f} prompt tokens")
        for prompt, expected, answer in mark.wrong[:2]:
            print(
                "      ",
                repr(prompt[-150:]),
                "\n         expected",
                repr(expected),
                "\n         answered",
                repr(answer),
            )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
