"""Short stories from a small grammar: a hero, a place, one of six plots, an ending.

A story keeps what it starts with (name, animal, pronoun, place, thing), so that telling it well takes memory as well as
grammar. Names alone give hundreds of choices; with the other slots there are far more than 10^12 stories.
"""

from collections.abc import Mapping, Sequence
from random import Random

from .item import Item, Split, ask, in_split
from .words import ANIMALS, COLORS, NAMES, person, with_article, words

_ADJECTIVES = words(
    "little small young brave shy happy clever kind curious gentle quiet friendly tiny proud sleepy lazy playful"
)
_HOMES = (
    "cozy house",
    "hollow tree",
    "tiny cottage",
    "warm den",
    "little hut",
    "blue barn",
    "stone tower",
    "wooden cabin",
)
_PLACES = words("forest river village hill lake meadow garden farm valley beach mountain pond bridge market")
_HOBBIES = (
    "sing songs",
    "count the stars",
    "swim in the lake",
    "read old books",
    "climb trees",
    "bake sweet cakes",
    "paint pictures",
    "dance in the rain",
    "collect shiny stones",
    "tell funny jokes",
    "play the flute",
    "look at the clouds",
)
_WEATHER = words("sunny rainy windy snowy foggy warm cold bright quiet golden")
_TIMES = words("morning day afternoon evening")
_TREASURES = words(
    "key book ball cup hat drum kite map ring bell coin clock spoon basket shell feather blanket mirror button scarf"
)
_TROUBLES = (
    "stuck in the mud",
    "caught in a thorny bush",
    "lost and hungry",
    "trapped under a branch",
    "too tired to walk",
    "sitting alone in the rain",
    "stuck on a high rock",
    "looking for the way home",
)
_TOOLS = (
    "a long rope",
    "a strong stick",
    "a warm blanket",
    "a piece of bread",
    "an old map",
    "a bright lantern",
    "a kind word",
)
_FEARS = ("the dark", "the deep water", "loud thunder", "high places", "big crowds", "the old bridge", "long nights")
_TREATS = words("cake soup bread pie honey cookies pancakes jam porridge pudding")
_PARTS = words("flour milk sugar salt butter water apples berries nuts eggs")
_GAMES = (
    "the great race",
    "the singing contest",
    "the dancing contest",
    "the big boat race",
    "the story contest",
    "the kite day",
)
_FEELINGS = words("happy proud glad thankful cheerful")

_OPENINGS = (
    "Once upon a time there was a {adjective} {animal} named {name}.",
    "Once upon a time, a {adjective} {animal} named {name} lived near the {place}.",
    "Once upon a time, in a {home} by the {place}, there lived a {adjective} {animal} called {name}.",
    "Once there was a {adjective} {animal} named {name} who lived by the {place}.",
    "There once was a {animal} called {name}, and everybody knew how {adjective} {he} was.",
    "Long ago, a {adjective} {animal} named {name} lived in a {home}.",
)
_HABITS = (
    "{name} loved to {hobby}.",
    "Every day {name} liked to {hobby}.",
    "More than anything, {he} loved to {hobby}.",
    "{He} lived in a {home} and liked to {hobby}.",
    "In the evenings {he} would often {hobby}.",
)
_FRIENDS = (
    "{His} best friend was a {adjective2} {animal2} named {friend}.",
    "{name} had a friend, a {animal2} called {friend}.",
    "{He} lived next to {friend}, a {adjective2} {animal2}.",
)
_PLOTS: tuple[tuple[tuple[str, ...], ...], ...] = (
    (
        (
            "One {weather} {time}, {name} could not find {his} {color} {thing}.",
            "One {weather} {time}, the {color} {thing} of {name} was gone.",
        ),
        (
            "{He} looked behind the door and under the bed, but it was not there.",
            "{He} searched all over the {place}, but there was no {thing}.",
        ),
        ('"I will help you," said {friend}.', '"Do not cry," said {friend}. "We will look together."'),
        (
            "Together they walked to the {place2} and found the {thing} under a leaf.",
            "They followed some small tracks to the {place2}, and there was the {color} {thing}.",
        ),
        (
            "{name} thanked {friend} and never lost the {thing} again.",
            '"Thank you, {friend}," said {name}, and held the {thing} tight.',
        ),
    ),
    (
        (
            "One {weather} {time}, {name} walked to the {place2}.",
            "One {weather} {time}, {name} heard a cry from the {place2}.",
        ),
        ("There was {friend}, {trouble}.", "{He} ran there and saw {friend}, who was {trouble}."),
        ('"Please help me," said {friend}.', '"Can you help me?" asked {friend} in a small voice.'),
        (
            "{name} came back with {tool} and helped {friend}.",
            "{name} did not wait. {He} used {tool} and soon {friend} was safe.",
        ),
        ('"You are a true friend," said {friend}.', "{friend} smiled and gave {name} a {color} {thing}."),
    ),
    (
        ("But {name} was afraid of {fear}.", "There was only one problem: {name} was afraid of {fear}."),
        (
            "One {weather} {time}, {friend} had to go past the {place2} and asked {name} to come along.",
            "One {weather} {time}, the way to the {place2} led {name} and {friend} right there.",
        ),
        ('"I cannot do it," said {name}.', '"What if something bad happens?" asked {name}.'),
        (
            '"Take my hand," said {friend}. "We can be brave together."',
            '"I am here with you," said {friend}, and they went on step by step.',
        ),
        (
            "After that day {name} was not afraid of {fear} anymore.",
            "At the end {name} laughed, because {fear} did not seem so bad now.",
        ),
    ),
    (
        (
            "One {weather} {time}, {name} wanted to make {treat} for the whole {place}.",
            "One {weather} {time}, {name} and {friend} decided to make {treat}.",
        ),
        ("But there was no {part} in the kitchen.", "They had a big bowl, but they had no {part}."),
        (
            "{name} asked at every door, and at last a {adjective2} old {animal3} had some {part}.",
            "{friend} ran to the {place2} and came back with a bag of {part}.",
        ),
        (
            "Soon the {treat} was ready, and it smelled wonderful.",
            "They mixed and stirred and waited until the {treat} was done.",
        ),
        (
            "Everybody came to eat, and nobody went home hungry.",
            "{name} shared the {treat} with everyone, and it was the best {treat} of the year.",
        ),
    ),
    (
        (
            "One {weather} {time}, it was time for {game}.",
            "One {weather} {time}, everyone came to the {place2} for {game}.",
        ),
        ('"I will never win," said {name}.', '"The others are all better than me," said {name}.'),
        ('"Just do your best," said {friend}.', '"Win or not, it will be fun," said {friend}.'),
        ("{name} tried very hard and did not give up.", "{name} took a deep breath and began."),
        (
            "In the end {he} won a {color} {thing}, and {friend} cheered.",
            "{He} came in second, and {friend} gave {him} a big hug.",
        ),
    ),
    (
        (
            "One {weather} night, {name} heard a strange sound near the {place2}.",
            "One {weather} night, there was a soft knock at the door of {name}.",
        ),
        ("{He} took a lamp and went to see what it was.", "{name} woke {friend}, and together they went to look."),
        ("It was a baby {animal3}, {trouble}.", "There stood a baby {animal3} with a {color} {thing}."),
        ('"Come in and get warm," said {name}.', '"Do not be afraid," said {name}. "You can stay with us tonight."'),
        (
            "In the morning they found its mother by the {place}.",
            "The next day they brought the baby {animal3} home to the {place2}.",
        ),
    ),
)
_ENDINGS = (
    "From then on, {name} and {friend} were friends forever.",
    "That night {name} went to bed {feeling} and tired.",
    "{name} learned that a good friend is worth more than gold.",
    "And they all lived happily ever after.",
    "{name} was very {feeling}, and so was {friend}.",
    "And {name} learned that it is good to help others.",
    "They laughed all the way home.",
    "The end.",
    "And whenever it was {weather}, they remembered that {time}.",
)
_ASK = (
    "Tell me a story.",
    "Write a short story.",
    "Tell me a short story.",
    "Please tell me a story.",
    "Can you tell me a story?",
    "I want to hear a story.",
    "Write a story.",
)
_ASK_ANIMAL = (
    "Tell me a story about a {animal}.",
    "Write a short story about a {adjective} {animal}.",
    "Write a story about a {animal}.",
    "Can you tell me a story about a {adjective} {animal}?",
    "Please write a story about a {animal}.",
)
_ASK_NAME = (
    "Tell me a story about a {animal} named {name}.",
    "Write a story about {name} the {animal}.",
    "Write a short story about a {adjective} {animal} called {name}.",
    "Tell me a story about {name}, a {adjective} {animal}.",
    "Please write a story about a {animal} named {name}.",
    "I want to hear a story about a {animal} called {name}.",
)

#: What each slot may hold, for whoever checks a story; a `name` may be anything, since it may be made up. Of the
#: pronouns the first is his, the second hers.
CHOICES: Mapping[str, Sequence[str]] = {
    "friend": NAMES,
    **dict.fromkeys(("animal", "animal2", "animal3"), ANIMALS),
    **dict.fromkeys(("place", "place2"), _PLACES),
    **dict.fromkeys(("adjective", "adjective2"), _ADJECTIVES),
    **{"he": ("he", "she"), "his": ("his", "her"), "him": ("him", "her"), "He": ("He", "She"), "His": ("His", "Her")},
    "home": _HOMES,
    "hobby": _HOBBIES,
    "weather": _WEATHER,
    "time": _TIMES,
    "color": COLORS,
    "thing": _TREASURES,
    "trouble": _TROUBLES,
    "tool": _TOOLS,
    "fear": _FEARS,
    "treat": _TREATS,
    "part": _PARTS,
    "game": _GAMES,
    "feeling": _FEELINGS,
}
#: Every plot as the choices of its sentences, from the opening to the ending.
PLOTS = tuple((_OPENINGS, _HABITS, _FRIENDS, *plot, _ENDINGS) for plot in _PLOTS)


def _slots(random: Random) -> dict[str, str]:
    animals = random.sample(ANIMALS, 3)
    places = random.sample(_PLACES, 2)
    he, his, him = random.choice((("he", "his", "him"), ("she", "her", "her")))
    adjectives = random.sample(_ADJECTIVES, 2)
    return {
        "name": person(random),
        "friend": random.choice(NAMES),
        "animal": animals[0],
        "animal2": animals[1],
        "animal3": animals[2],
        "place": places[0],
        "place2": places[1],
        "he": he,
        "his": his,
        "him": him,
        "He": he.capitalize(),
        "His": his.capitalize(),
        "adjective": adjectives[0],
        "adjective2": adjectives[1],
        "home": random.choice(_HOMES),
        "hobby": random.choice(_HOBBIES),
        "weather": random.choice(_WEATHER),
        "time": random.choice(_TIMES),
        "color": random.choice(COLORS),
        "thing": random.choice(_TREASURES),
        "trouble": random.choice(_TROUBLES),
        "tool": random.choice(_TOOLS),
        "fear": random.choice(_FEARS),
        "treat": random.choice(_TREATS),
        "part": random.choice(_PARTS),
        "game": random.choice(_GAMES),
        "feeling": random.choice(_FEELINGS),
    }


def _story(random: Random, split: Split) -> tuple[str, dict[str, str]]:
    while True:
        slots = _slots(random)
        key = " ".join(slots[name] for name in ("name", "friend", "animal", "animal2", "place", "thing"))
        if slots["name"] != slots["friend"] and in_split(key, split):
            break
    plot = random.choice(_PLOTS)
    groups = [_OPENINGS, _HABITS, _FRIENDS, *plot, _ENDINGS]
    text = " ".join(random.choice(group) for group in groups).format(**slots)
    return with_article(text), slots


def story(random: Random, split: Split) -> Item:
    """A story asked for in a chat: any story, one about an animal, or one about a named animal."""
    text, slots = _story(random, split)
    prompts = _ASK_NAME if split is Split.HELD_OUT or random.random() < 0.6 else random.choice((_ASK, _ASK_ANIMAL))
    return ask("story", with_article(random.choice(prompts).format(**slots)), text)


def story_as_text(random: Random, split: Split) -> Item:
    """A story as raw text, for completion without a chat."""
    return Item("story_as_text", text=_story(random, split)[0])
