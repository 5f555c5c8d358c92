"""Put the measured figures into the model card, between two marks, so that the card cannot say anything else."""

import json
from pathlib import Path
from typing import Any

START, STOP = "<!-- measured: start -->", "<!-- measured: stop -->"
MEANING = {
    "addition": "sums of two numbers from 10 to 99",
    "subtraction": "differences of numbers up to 99",
    "copy": "lists of 3 to 8 numbers, letters, words or made-up words",
    "sort": "lists of 3 to 6 numbers (by value), letters or words (by the alphabet)",
    "reverse": "lists of 3 to 6 said backwards",
    "recall_256": "one of 3 to 14 facts among filler sentences, in a prompt of about 256 tokens",
    "recall_512": "the same in about 512",
    "recall_1024": "the same in about 1,024",
    "recall_2048": "the same in about 2,000",
    "recall_dense": "one of 51 facts with hardly anything between them",
    "json": "a sentence to a JSON object of 1 to 4 keys",
    "tool_call": "the right tool of 1 to 3 and all its arguments",
    "tool_reply": "the words after the result of a tool",
    "no_tool": "tools offered, none needed",
    "opener": "greetings and questions about itself, unseen phrasings",
    "upper_case": "a system prompt asks for capital letters",
    "closing_word": "a system prompt names the last word of every answer",
    "persona": "a system prompt gives a name and a kind",
    "story": "keeps the animal and the name it was asked for, and comes to an end",
}


def table(skills: dict[str, Any]) -> str:
    """The marks as a Markdown table."""
    rows = ["| skill | exact | items | prompt tokens | what is asked |", "|---|---|---|---|---|"]
    rows += [
        f"| {name} | {mark['exact']:.1%} | {mark['items']} | {mark['mean_prompt_tokens']:.0f} | {MEANING[name]} |"
        for name, mark in skills.items()
    ]
    return "\n".join(rows)


def _quoted(samples: dict[str, str]) -> str:
    return "\n\n".join(
        "> " + prompt.replace("\n", "\n> ") + "\n\n```text\n" + answer + "\n```" for prompt, answer in samples.items()
    )


def measured(results: dict[str, Any]) -> str:
    """Everything between the marks."""
    model, training = results["model"], results["training"]
    return f"""\
Parameters: {model["parameters"]:,} in a file of {model["file_bytes"]:,} bytes (bfloat16).
Training: {training["steps"]:,} steps, {training["tokens"]:,} tokens, {training["seconds"] / 60:.0f} minutes in the \
training loop on {training["device"]}.

{table(results["skills"])}

Answers at temperature 0, as they came:

{_quoted(results["samples"])}
"""


def write(folder: Path) -> None:
    """Bring the card up to `results.json`."""
    results = json.loads((folder / "results.json").read_text())
    card = (folder / "README.md").read_text()
    before, rest = card.split(START)
    after = rest.split(STOP)[1]
    (folder / "README.md").write_text(before + START + "\n" + measured(results) + STOP + after)
