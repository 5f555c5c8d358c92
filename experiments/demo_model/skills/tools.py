"""Tool calls: choose among the tools in the system block, fill the arguments, and say the result."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from .item import Item, Message, Split, in_split
from .openers import opener
from .words import CITIES, FOODS, PLAIN, city, made_up_word, person

Arguments = dict[str, Any]


@dataclass(frozen=True)
class Tool:
    """How a tool is described, called for, and what comes of its result."""

    name: str
    description: str
    types: dict[str, str]
    requests: tuple[str, ...]
    arguments: Callable[[Random], Arguments]
    result: Callable[[Random, Arguments], Arguments]
    reply: str

    def schema(self) -> Message:
        """The function description in the usual JSON form."""
        properties = {name: {"type": kind} for name, kind in self.types.items()}
        parameters = {"type": "object", "properties": properties, "required": list(self.types)}
        return {
            "type": "function",
            "function": {"name": self.name, "description": self.description, "parameters": parameters},
        }


def _words(random: Random, count: int) -> str:
    return " ".join(random.choice((random.choice(PLAIN), made_up_word(random))) for _ in range(count))


TOOLS = (
    Tool(
        "get_weather",
        "Get the weather in a city.",
        {"city": "string"},
        (
            "What is the weather in {city}?",
            "How is the weather in {city}?",
            "Weather in {city}?",
            "Is it warm in {city}?",
        ),
        lambda random: {"city": city(random)},
        lambda random, given: {
            "temperature": random.randint(-9, 39),
            "sky": random.choice(("sunny", "cloudy", "rainy")),
        },
        "It is {sky} in {city}, at {temperature} degrees.",
    ),
    Tool(
        "add",
        "Add two numbers.",
        {"a": "integer", "b": "integer"},
        ("What is {a} + {b}?", "Add {a} and {b}.", "{a} plus {b}", "What is the sum of {a} and {b}?"),
        lambda random: {"a": random.randint(1, 9999), "b": random.randint(1, 9999)},
        lambda random, given: {"sum": given["a"] + given["b"]},
        "The sum is {sum}.",
    ),
    Tool(
        "multiply",
        "Multiply two numbers.",
        {"a": "integer", "b": "integer"},
        ("What is {a} times {b}?", "Multiply {a} by {b}.", "{a} * {b}", "What is {a} * {b}?"),
        lambda random: {"a": random.randint(1, 999), "b": random.randint(1, 999)},
        lambda random, given: {"product": given["a"] * given["b"]},
        "The product is {product}.",
    ),
    Tool(
        "search",
        "Search the web.",
        {"query": "string"},
        ("Search for {query}.", "Search the web for {query}.", "Look up {query}.", "Find {query} on the web."),
        lambda random: {"query": _words(random, random.randint(1, 3))},
        lambda random, given: {"title": _words(random, 2)},
        "I found this: {title}.",
    ),
    Tool(
        "set_timer",
        "Set a timer.",
        {"minutes": "integer"},
        ("Set a timer for {minutes} minutes.", "Start a timer of {minutes} minutes.", "Wake me in {minutes} minutes."),
        lambda random: {"minutes": random.randint(2, 90)},
        lambda random, given: {"status": "ok"},
        "The timer is set for {minutes} minutes.",
    ),
    Tool(
        "get_time",
        "Get the time in a city.",
        {"city": "string"},
        ("What time is it in {city}?", "Tell me the time in {city}.", "What is the time in {city}?"),
        lambda random: {"city": city(random)},
        lambda random, given: {"time": f"{random.randint(0, 23):02}:{random.randint(0, 59):02}"},
        "It is {time} in {city}.",
    ),
    Tool(
        "send_message",
        "Send a message to a person.",
        {"to": "string", "text": "string"},
        (
            "Send {to} the message: {text}",
            "Tell {to}: {text}",
            "Write to {to}: {text}",
            "Send a message to {to}: {text}",
        ),
        lambda random: {"to": person(random), "text": _words(random, random.randint(1, 4))},
        lambda random, given: {"status": "ok"},
        "I sent your message to {to}.",
    ),
    Tool(
        "book_flight",
        "Book a flight.",
        {"origin": "string", "destination": "string"},
        (
            "Book a flight from {origin} to {destination}.",
            "I want to fly from {origin} to {destination}.",
            "Fly me from {origin} to {destination}.",
        ),
        lambda random: dict(zip(("origin", "destination"), random.sample(CITIES, 2), strict=True)),
        lambda random, given: {"flight": f"{random.choice('ABCDEFG')}{random.randint(100, 999)}"},
        "Your flight {flight} to {destination} is booked.",
    ),
    Tool(
        "find_recipe",
        "Find a recipe for a food.",
        {"food": "string"},
        ("Find a recipe for {food}.", "How do I make {food}?", "Give me a recipe for {food}."),
        lambda random: {"food": random.choice(FOODS)},
        lambda random, given: {"minutes": random.randint(5, 90)},
        "I found a recipe for {food}. It takes {minutes} minutes.",
    ),
)


def _offered(random: Random, tool: Tool) -> tuple[Message, ...]:
    others = random.sample([other for other in TOOLS if other is not tool], random.choice((0, 0, 1, 1, 2)))
    offered = [tool, *others]
    random.shuffle(offered)
    return tuple(item.schema() for item in offered)


def tool_call(random: Random, split: Split) -> Item:
    """A request that a tool answers: the call is the answer to learn; in training, half go on with the result."""
    while True:
        tool = random.choice(TOOLS)
        given = tool.arguments(random)
        if in_split(tool.name + json.dumps(given), split):
            break
    request = random.choice(tool.requests).format(**given)
    system: list[Message] = (
        [{"role": "system", "content": "You are a helpful assistant."}] if random.random() < 0.4 else []
    )
    call = {"type": "function", "function": {"name": tool.name, "arguments": given}}
    messages = [
        *system,
        {"role": "user", "content": request},
        {"role": "assistant", "content": "", "tool_calls": [call]},
    ]
    if split is Split.TRAIN and random.random() < 0.5:
        result = tool.result(random, given)
        messages += [
            {"role": "tool", "content": json.dumps(result)},
            {"role": "assistant", "content": tool.reply.format(**{**given, **result})},
        ]
    return Item("tool_call", tuple(messages), _offered(random, tool))


def tool_reply(random: Random, split: Split) -> Item:
    """The words after the result of a call."""
    while True:
        item = tool_call(random, Split.TRAIN)
        if (
            item.messages[-1]["role"] == "assistant"
            and item.messages[-1]["content"]
            and in_split(str(item.messages), split)
        ):
            return Item("tool_reply", item.messages, item.tools)


def no_tool(random: Random, split: Split) -> Item:
    """Tools are offered but nobody needs one."""
    item = opener(random, split)
    return Item("opener", item.messages, _offered(random, random.choice(TOOLS)))
