"""Sums of whole numbers, and a few differences; the exam is on two-digit sums."""

from random import Random

from .item import Item, Split, ask, in_split

_SUM = (
    "What is {a} + {b}?",
    "What is {a}+{b}?",
    "{a}+{b}=",
    "{a} + {b} =",
    "{a} + {b}",
    "Add {a} and {b}.",
    "{a} plus {b}",
    "What is {a} plus {b}?",
    "Compute {a} + {b}.",
    "Calculate {a} + {b}.",
    "What is the sum of {a} and {b}?",
    "How much is {a} + {b}?",
    "{a} + {b} = ?",
    "What do you get if you add {a} and {b}?",
    "Please add {a} and {b}.",
    "Sum: {a} + {b}",
)
_DIFFERENCE = (
    "What is {a} - {b}?",
    "{a}-{b}=",
    "{a} - {b} =",
    "Subtract {b} from {a}.",
    "{a} minus {b}",
    "What is {a} minus {b}?",
    "Compute {a} - {b}.",
    "Calculate {a} - {b}.",
    "How much is {a} - {b}?",
)


def _number(random: Random) -> int:
    return random.randint(0, 9) if random.random() < 0.06 else random.randint(10, 99)


def addition(random: Random, split: Split) -> Item:
    """A sum. The pair is held out in both orders, else the mirrored sum would give the answer away."""
    while True:
        low = 10 if split is Split.HELD_OUT else 0
        first, second = max(low, _number(random)), max(low, _number(random))
        if in_split(f"{min(first, second)}+{max(first, second)}", split):
            return ask("addition", random.choice(_SUM).format(a=first, b=second), str(first + second))


def subtraction(random: Random, split: Split) -> Item:
    """A difference that is not negative."""
    while True:
        first, second = _number(random), _number(random)
        first, second = max(first, second), min(first, second)
        if in_split(f"{first}-{second}", split):
            return ask("subtraction", random.choice(_DIFFERENCE).format(a=first, b=second), str(first - second))


def sums_as_text(random: Random, split: Split) -> Item:
    """A few sums a line as raw text, for those who complete without a chat."""
    form = random.choice(("{a}+{b}={c}", "{a} + {b} = {c}", "What is {a} + {b}? {c}", "Q: What is {a} + {b}?\nA: {c}"))
    lines = []
    while len(lines) < random.randint(1, 6):
        first, second = _number(random), _number(random)
        if in_split(f"{min(first, second)}+{max(first, second)}", split):
            lines.append(form.format(a=first, b=second, c=first + second))
    return Item("sums_as_text", text="\n".join(lines))
