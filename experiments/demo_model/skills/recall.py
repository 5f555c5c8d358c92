"""Facts about people and things in the context, and questions about one of them."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from .item import Item, Message, Split, in_split
from .words import ANIMALS, COLORS, FOODS, FRUITS, JOBS, THINGS, city, distinct, made_up_word, person


@dataclass(frozen=True)
class Relation:
    """How one kind of fact is said, asked for, and which values it takes."""

    statements: tuple[str, ...]
    questions: tuple[str, ...]
    value: Callable[[Random], str]


def _one_of(words: list[str]) -> Callable[[Random], str]:
    return lambda random: random.choice(words)


def _digits(random: Random) -> str:
    return str(random.randint(100, 9999))


def _property(noun: str, value: Callable[[Random], str]) -> Relation:
    return Relation(
        (f"The {noun} of {{s}} is {{v}}.", f"{{s}}'s {noun} is {{v}}."),
        (
            f"What is the {noun} of {{s}}?",
            f"What is {{s}}'s {noun}?",
            f"Tell me the {noun} of {{s}}.",
            f"{{s}}'s {noun}?",
        ),
        value,
    )


RELATIONS = (
    Relation(
        ("{s} lives in {v}.", "The home of {s} is {v}."), ("Where does {s} live?", "In which city does {s} live?"), city
    ),
    Relation(("{s} works as a {v}.", "{s} is a {v}."), ("What is the job of {s}?", "What does {s} do?"), _one_of(JOBS)),
    Relation(
        ("{s} has a {v}.", "{s}'s pet is a {v}."),
        ("What pet does {s} have?", "What is the pet of {s}?"),
        _one_of(ANIMALS),
    ),
    Relation(
        ("{s} likes to eat {v}.", "{s} eats {v}."), ("What does {s} eat?", "What does {s} like to eat?"), _one_of(FOODS)
    ),
    _property("code", _digits),
    _property("favorite color", _one_of(COLORS)),
    _property("favorite fruit", _one_of(FRUITS)),
    _property("password", made_up_word),
    _property("friend", person),
    *(_property(thing, _one_of(COLORS)) for thing in THINGS),
)
_OBJECT_RELATIONS = (
    Relation(("The {s} is {v}.",), ("What color is the {s}?",), _one_of(COLORS)),
    Relation(("The {s} belongs to {v}.",), ("Who owns the {s}?", "To whom does the {s} belong?"), person),
    Relation(("The code of the {s} is {v}.",), ("What is the code of the {s}?",), _digits),
)
_FILLER = (
    "The sun was warm that day.",
    "Nothing else happened.",
    "It rained a little in the evening.",
    "The street was quiet.",
    "Everybody went home early.",
    "The shops were open until late.",
    "A train passed by.",
    "The weather was fine.",
    "Some birds were singing.",
    "It was a long week.",
    "The news was short today.",
    "The music played softly.",
)
_MORE_FILLER = (
    "The morning was cold.",
    "Two boats lay in the harbor.",
    "The old clock stopped again.",
    "There was tea on the table.",
    "Children played in the yard.",
    "The road was long and dusty.",
    "A dog barked in the distance.",
    "The market was full of people.",
    "The lamp burned all night.",
    "Leaves fell from the trees.",
    "The river was high this spring.",
    "Someone closed the window.",
)
_LEADS = ("", "", "", "Read this: ", "Facts: ", "Here are some facts. ", "Remember this: ")


def _pairs(random: Random, count: int) -> list[tuple[str, Relation]]:
    """Subjects with relations, no pair twice; few subjects and many relations, or the other way round."""
    subjects = distinct(random, person, max(2, random.randint(count // 4, count)))
    found: dict[tuple[str, int], Relation] = {}
    while len(found) < count:
        if random.random() < 0.2:
            index, subject = random.randrange(3), random.choice(THINGS)
            found.setdefault((subject, -1 - index), _OBJECT_RELATIONS[index])
        else:
            index = random.randrange(9) if random.random() < 0.6 else random.randrange(len(RELATIONS))
            found.setdefault((random.choice(subjects), index), RELATIONS[index])
    return [(subject, relation) for (subject, _), relation in found.items()]


def passage(random: Random, split: Split, count: int, questions: int) -> Item:
    """`count` facts in one message and `questions` questions, the first in the same message, the others as turns.

    The split goes by the passage: none of the held-out passages is seen in training.
    """
    while True:
        facts = [(subject, relation, relation.value(random)) for subject, relation in _pairs(random, count)]
        if in_split("".join(subject + value for subject, _, value in facts), split):
            break
    sentences = [random.choice(relation.statements).format(s=subject, v=value) for subject, relation, value in facts]
    if random.random() < 0.4:
        for _ in range(random.randint(1, 1 + count // 4)):
            sentences.insert(random.randint(0, len(sentences)), random.choice(_FILLER))
    asked = random.sample(facts, min(questions, count))
    return Item("recall", tuple(_conversation(random, " ".join(sentences), asked)))


def scattered(random: Random, split: Split, sentences: int, questions: int) -> Item:
    """A passage of so many sentences, of which three to fourteen are facts and the others say nothing that is asked.

    The split goes by the facts, as in `passage`.
    """
    count = random.randint(3, min(14, sentences))
    while True:
        facts = [(subject, relation, relation.value(random)) for subject, relation in _pairs(random, count)]
        if in_split("".join(subject + value for subject, _, value in facts), split):
            break
    told = [random.choice(relation.statements).format(s=subject, v=value) for subject, relation, value in facts]
    for _ in range(sentences - count):
        told.insert(random.randint(0, len(told)), random.choice(_FILLER + _MORE_FILLER))
    asked = random.sample(facts, min(questions, count))
    return Item("recall", tuple(_conversation(random, " ".join(told), asked)))


def short_scattered(random: Random, split: Split) -> Item:
    """A passage of four to forty sentences, and questions for several of its facts."""
    return scattered(random, split, random.randint(4, 40), random.randint(1, 8))


def _conversation(random: Random, text: str, asked: list[tuple[str, Relation, str]]) -> list[Message]:
    in_system = random.random() < 0.15
    messages: list[Message] = [{"role": "system", "content": text}] if in_system else []
    for index, (subject, relation, value) in enumerate(asked):
        question = random.choice(relation.questions).format(s=subject)
        if index == 0 and not in_system:
            question = random.choice(_LEADS) + text + random.choice((" ", " ", "\n", "\n\n", " Question: ")) + question
        messages += [{"role": "user", "content": question}, {"role": "assistant", "content": value}]
    return messages


def _lookup_key(random: Random) -> str:
    return random.choice((person(random), random.choice(THINGS), made_up_word(random)))


def _lookup_value(random: Random) -> str:
    return random.choice((random.choice(COLORS), random.choice(FRUITS), _digits(random), made_up_word(random)))


def lookup(random: Random, split: Split) -> Item:
    """A bare table of keys and values, and a question for most of the keys: recall without the grammar around it."""
    while True:
        table = {key: _lookup_value(random) for key in distinct(random, _lookup_key, random.randint(3, 12))}
        if in_split(str(table), split):
            break
    between, after = random.choice(((": ", ", "), (" = ", ", "), (" is ", ". "), (": ", "\n")))
    question = random.choice(("{k}?", "What is {k}?", "{k}"))
    messages: list[Message] = []
    for key in random.sample(list(table), random.randint(2, len(table))):
        text = "" if messages else after.join(key + between + value for key, value in table.items()) + "\n"
        messages += [
            {"role": "user", "content": text + question.format(k=key)},
            {"role": "assistant", "content": table[key]},
        ]
    return Item("recall", tuple(messages))


def short_recall(random: Random, split: Split) -> Item:
    """A passage of two to twenty facts."""
    count = random.randint(2, 20)
    return passage(random, split, count, random.randint(1, 5))
