"""A sentence in, a JSON object out."""

import json
from random import Random

from .item import Item, Split, ask, in_split
from .words import COLORS, JOBS, THINGS, city, person

_PERSON = (
    "{name} is {age} years old and lives in {city}.",
    "{name} lives in {city} and is {age} years old.",
    "My name is {name}, I am {age} and I live in {city}.",
    "{name}, {age}, from {city}.",
    "In {city} lives {name}, who is {age} years old.",
    "{name} from {city} is {age} years old.",
    "At the age of {age}, {name} moved to {city}.",
    "I met {name} in {city}. {name} is {age}.",
    "Hello, I am {name} from {city} and I am {age} years old.",
)
_WORKER = (
    "{name} works as a {job} in {city}.",
    "{name} is a {job} from {city}.",
    "The {job} {name} lives in {city}.",
    "In {city}, {name} is a {job}.",
    "My friend {name} is a {job} and lives in {city}.",
)
_ORDER = (
    "{name} bought {count} {color} {item}s.",
    "{name} ordered {count} {item}s in {color}.",
    "An order of {count} {color} {item}s came from {name}.",
    "Please send {count} {color} {item}s to {name}.",
)
_ASK = (
    "Turn this into JSON: {x}",
    "Make JSON from this: {x}",
    "Write this as JSON: {x}",
    "Fill the JSON from this sentence: {x}",
    "JSON: {x}",
    "Extract JSON: {x}",
    "{x}\nWrite it as JSON.",
    "{x} Give me the JSON.",
    "Convert to JSON: {x}",
)
_ASK_KEYS = (
    "Extract {k} as JSON: {x}",
    "Give me JSON with {k}: {x}",
    "{x}\nReturn JSON with the keys {k}.",
    "Write JSON with the keys {k} for this: {x}",
)


def _record(random: Random) -> tuple[tuple[str, ...], dict[str, str | int]]:
    kind = random.choice("ppwo")
    if kind == "p":
        return _PERSON, {"name": person(random), "age": random.randint(5, 99), "city": city(random)}
    if kind == "w":
        return _WORKER, {"name": person(random), "job": random.choice(JOBS), "city": city(random)}
    color, item = random.choice(COLORS), random.choice([thing for thing in THINGS if thing[-1] not in "hsx"])
    return _ORDER, {"name": person(random), "item": item, "color": color, "count": random.randint(2, 99)}


def json_filling(random: Random, split: Split) -> Item:
    """All keys in their usual order, or (three in ten) those that the question names in the order it names them."""
    if random.random() < 0.3:
        return json_of_named_keys(random, split)
    forms, record = _new_record(random, split)
    sentence = random.choice(forms).format(**record)
    return ask("json", random.choice(_ASK).format(x=sentence), json.dumps(record))


def json_of_named_keys(random: Random, split: Split) -> Item:
    """Only the keys that the question names, in its order."""
    forms, record = _new_record(random, split)
    sentence = random.choice(forms).format(**record)
    keys = random.sample(list(record), random.randint(1, len(record)))
    named = keys[0] if len(keys) == 1 else ", ".join(keys[:-1]) + " and " + keys[-1]
    chosen = {key: record[key] for key in keys}
    return ask("json", random.choice(_ASK_KEYS).format(k=named, x=sentence), json.dumps(chosen))


def _new_record(random: Random, split: Split) -> tuple[tuple[str, ...], dict[str, str | int]]:
    while True:
        forms, record = _record(random)
        if in_split(json.dumps(record), split):
            return forms, record
