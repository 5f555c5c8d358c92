"""Prompts whose greedy answers are copied into the model card as they come."""

import chat
from generate import complete
from model import Llama
from skills.item import Item, Message
from skills.tools import TOOLS
from tokenizers import Tokenizer

_PASSAGE = (
    "Mia lives in Oslo. The key of Mia is red. Zorvik works as a baker. The key of Zorvik is green. "
    "Mia's password is quelm."
)
_WEATHER = (TOOLS[0].schema(),)


def _chat(*contents: str, system: str = "", tools: tuple[Message, ...] = ()) -> str:
    roles = ("user", "assistant")
    messages: list[Message] = [{"role": "system", "content": system}] if system else []
    messages += [{"role": roles[index % 2], "content": content} for index, content in enumerate(contents)]
    messages.append({"role": "assistant", "content": ""})
    return chat.prompt(Item("sample", tuple(messages), tools))


PROMPTS = {
    "Hello!": _chat("Hello!"),
    "What can you do?": _chat("What can you do?"),
    "What is 47 + 38?": _chat("What is 47 + 38?"),
    "Sort: plum, fig, otter, bee": _chat("Sort: plum, fig, otter, bee"),
    "Repeat: Vronta, 7, lamp, q": _chat("Repeat: Vronta, 7, lamp, q"),
    _PASSAGE + " What is the key of Zorvik?": _chat(_PASSAGE + " What is the key of Zorvik?"),
    "Turn this into JSON: Tessa is 31 years old and lives in Quito.": _chat(
        "Turn this into JSON: Tessa is 31 years old and lives in Quito."
    ),
    "(system: Answer in upper case.) Sort: pear fig kiwi": _chat("Sort: pear fig kiwi", system="Answer in upper case."),
    "(system: You are Bruno, a friendly pilot.) Who are you?": _chat(
        "Who are you?", system="You are Bruno, a friendly pilot."
    ),
    "(tool get_weather) What is the weather in Lima?": _chat("What is the weather in Lima?", tools=_WEATHER),
    "Tell me a story about an otter named Pim.": _chat("Tell me a story about an otter named Pim."),
    "(raw text) Once upon a time": chat.BEGIN + "Once upon a time",
}


def samples(model: Llama, tokenizer: Tokenizer) -> dict[str, str]:
    """The answer to each prompt at temperature 0."""
    return dict(zip(PROMPTS, complete(model, tokenizer, list(PROMPTS.values()), 240), strict=True))
