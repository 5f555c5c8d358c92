"""`%aphrodite chat "question"`: one turn of a conversation that later cells go on with."""

from __future__ import annotations

import argparse

from aphrodite.magics import prompt_cell
from aphrodite.magics.command import Command
from aphrodite.magics.conversation import Conversation
from aphrodite.magics.notebook import Notebook


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("question", nargs="?", help="in quotes; without one the conversation is shown")
    parser.add_argument("--forget", action="store_true", help="forget the conversation first")
    prompt_cell.add_prompt_flags(parser)


def run(notebook: Notebook, arguments: argparse.Namespace) -> object:
    arguments.chat = arguments.chat or "default"
    if arguments.forget:
        notebook.conversations.pop(arguments.chat, None)
    if arguments.question:
        return prompt_cell.value(notebook, arguments, arguments.question)
    messages = notebook.conversations.get(arguments.chat, ())
    return Conversation(messages) if messages or not arguments.forget else None


COMMAND = Command("chat", "One turn of a conversation; the next one remembers it.", add_arguments, run)
