"""The words that the skills share: names (common and made up), places, things."""

from collections.abc import Callable
from random import Random
from string import ascii_lowercase


def words(text: str) -> list[str]:
    """The words of a text; a list that reads like a sentence is easier to keep than one quoted word by word."""
    return text.split()


NAMES = words(
    "Mia Leo Anna Ben Clara David Emma Felix Grace Henry Iris Jack Kate Liam Maya Noah Olga Paul Quinn Rosa Sam Tina "
    "Uma Victor Wendy Xavier Yara Zoe Adam Bella Carlos Diana Eric Fiona George Hanna Ivan Julia Karl Laura Marco Nina "
    "Oscar Petra Ravi Sara Tom Ursula Vera Will Alice Bruno Cora Dan Elsa Frank Gina Hugo Inga Jonas Kim Lena Max Nora "
    "Otto Pia Rex Sofia Theo Ella Ada Alan Bob Carol Eve Lucy Peter Mary John James Robert Linda Susan Amir Aisha Chen "
    "Mei Yuki Kenji Priya Arjun Omar Layla Fatima Pedro Lucia Pablo Elena Igor Anya Lars Freya Sven Astrid"
)
CITIES = words(
    "Paris London Berlin Rome Madrid Oslo Vienna Prague Lisbon Dublin Athens Cairo Tokyo Delhi Lima Quito Boston "
    "Chicago Denver Seattle Toronto Sydney Nairobi Lagos Warsaw Zurich Geneva Milan Naples Porto Munich Hamburg Lyon "
    "Kyoto Seoul Hanoi Bangkok Jakarta Manila Havana Austin Dallas Miami Bergen Helsinki Stockholm Copenhagen Brussels "
    "Amsterdam Budapest"
)
COLORS = words("red blue green yellow white black orange purple pink brown gray silver golden")
ANIMALS = words(
    "cat dog fox bear rabbit mouse owl duck horse frog wolf deer turtle goat pig hen crow bee lion tiger otter badger "
    "squirrel hedgehog donkey sheep beaver swan robin mole"
)
FRUITS = words("apple pear plum fig grape lemon lime mango melon peach cherry banana berry kiwi orange olive")
THINGS = words(
    "key lamp book ball cup hat drum kite map ring bell box coin rope chair table clock spoon basket boat wagon shell "
    "stone feather blanket flute ladder mirror candle button bottle bag coat shoe scarf bike car door pen desk phone"
)
JOBS = words(
    "doctor teacher baker pilot farmer painter singer nurse lawyer cook driver writer dancer miner tailor judge clerk "
    "builder sailor gardener"
)
FOODS = words("bread soup rice pasta cheese cake pizza salad pie toast noodles beans honey jam porridge stew")
_OTHER = words(
    "sun moon star rain snow wind tree river hill lake road house garden window forest island summer winter night day "
    "king queen child friend city village market school music song dance game water fire earth air hand head heart"
)
PLAIN = sorted({*ANIMALS, *FRUITS, *THINGS, *JOBS, *FOODS, *COLORS, *_OTHER})

_STARTS = words("b br c ch d dr f fl g gr h j k kl l m n p pr qu r s sh st t th tr v w y z")
_VOWELS = words("a e i o u ai ea oo ia")
_ENDS = ["", "", "", "n", "r", "l", "s", "t", "m", "x", "ck", "nd", "rt", "v"]


def made_up_word(random: Random) -> str:
    """A pronounceable word that no list holds, so that copying it needs more than memory; rarely plain letters."""
    if random.random() < 0.1:
        return "".join(random.choices(ascii_lowercase, k=random.randint(3, 6)))
    return "".join(
        random.choice(_STARTS) + random.choice(_VOWELS) + random.choice(_ENDS) for _ in range(random.randint(1, 3))
    )


def person(random: Random) -> str:
    """A first name, made up four times in ten."""
    return made_up_word(random).capitalize() if random.random() < 0.4 else random.choice(NAMES)


def city(random: Random) -> str:
    """A city, made up one time in four."""
    return made_up_word(random).capitalize() if random.random() < 0.25 else random.choice(CITIES)


def people(random: Random, count: int) -> list[str]:
    """Different names."""
    return distinct(random, person, count)


def distinct(random: Random, make: Callable[[Random], str], count: int) -> list[str]:
    """Draw until there are `count` different words."""
    found: dict[str, None] = {}
    while len(found) < count:
        found[make(random)] = None
    return list(found)


def with_article(text: str) -> str:
    """The text with "an" for "a" in front of a vowel."""
    for vowel in "aeiou":
        text = text.replace(f" a {vowel}", f" an {vowel}").replace(f" A {vowel}", f" An {vowel}")
    return text
