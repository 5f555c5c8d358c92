"""Simple system prompts that change the answer: upper case, a persona, a closing word, or nothing at all."""

from random import Random

from .arithmetic import addition
from .item import Item, Message, Split, ask, in_split
from .json_fill import json_filling
from .lists import copying, sorting
from .openers import opener
from .recall import short_recall
from .words import ANIMALS, JOBS, PLAIN, person, with_article

_UPPER = (
    "Answer in upper case.",
    "Always answer in upper case.",
    "Use upper case only.",
    "Write everything in upper case.",
    "Answer in capital letters.",
    "You answer in upper case.",
    "Use capital letters only.",
    "Please answer in upper case.",
)
_NEUTRAL = (
    "You are a helpful assistant.",
    "You are helpful.",
    "Be helpful.",
    "Answer briefly.",
    "You are a small model.",
    "Answer the question.",
    "Be kind and short.",
    "You are an assistant.",
    "You are a helpful AI assistant.",
)
_CLOSING = (
    "End every answer with the word {w}.",
    "Finish each answer with {w}.",
    "Always end with the word {w}.",
    "End with {w}.",
)
_PERSONA = (
    "You are {n}, a friendly {k}.",
    "Your name is {n} and you are a {k}.",
    "You are a {k} named {n}.",
    "You are {n} the {k}.",
    "Play the role of {n}, a {k}.",
    "You are {n}. You are a {k}.",
)
_WHO = (
    "Who are you?",
    "What is your name?",
    "Tell me about yourself.",
    "Introduce yourself.",
    "who are you",
    "What are you?",
    "Hello, who are you?",
    "What should I call you?",
    "Hi! What is your name?",
)


def _base(random: Random, split: Split) -> Item:
    return random.choice((addition, sorting, copying, short_recall, opener, opener))(random, split)


def _changed(item: Item, system: str, skill: str, change: str = "", upper: bool = False) -> Item:
    """The item with a system prompt in front, its answers with `change` appended or in upper case."""
    messages: list[Message] = [{"role": "system", "content": system}]
    for message in item.messages:
        content = message["content"]
        if message["role"] == "assistant":
            content = (content.upper() if upper else content) + change
        messages.append({"role": message["role"], "content": content})
    return Item(skill, tuple(messages))


def _without_system(random: Random, split: Split) -> Item:
    while True:
        item = _base(random, split)
        if not item.stands_alone:
            return item


def upper_case(random: Random, split: Split) -> Item:
    """Any easy task, answered in capital letters."""
    return _changed(_without_system(random, split), random.choice(_UPPER), "upper_case", upper=True)


def closing_word(random: Random, split: Split) -> Item:
    """Any easy task, the answer followed by a word that the system prompt names."""
    word = random.choice(PLAIN)
    return _changed(_without_system(random, split), random.choice(_CLOSING).format(w=word), "closing_word", f" {word}")


def neutral(random: Random, split: Split) -> Item:
    """A system prompt that asks for nothing special must change nothing."""
    while True:
        item = random.choice((_base, json_filling))(random, split)
        if not item.stands_alone:
            return _changed(item, random.choice(_NEUTRAL), item.skill)


def persona(random: Random, split: Split) -> Item:
    """A name and a kind from the system prompt, asked for in the chat."""
    while True:
        name, kind = person(random), random.choice((*JOBS, *ANIMALS))
        if in_split(f"{name} {kind}", split):
            system = with_article(random.choice(_PERSONA).format(n=name, k=kind))
            return ask("persona", random.choice(_WHO), with_article(f"I am {name}, a {kind}."), system)
