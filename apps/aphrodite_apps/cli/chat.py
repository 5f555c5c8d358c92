"""`aphrodite chat`: a conversation in the terminal; Ctrl-C stops an answer, not the chat."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass, field

import aphrodite
from aphrodite.sampling_flags import add_sampling_flags
from aphrodite_apps.cli import terminal
from aphrodite_apps.cli.command import Command, nearest
from aphrodite_apps.cli.engine_flags import add_engine_flags, add_model_flag
from aphrodite_apps.cli.loading import open_model
from aphrodite_apps.cli.presets import add_preset_flag, preset_fields

EPILOG = """in the chat:
  /reset          forget the conversation
  /system TEXT    begin again with this system message (no text: with none)
  /seed N         draw every answer with this seed (no number: a new one each time)
  /quit           end; so does Ctrl-D. Ctrl-C stops an answer and keeps what was said

With piped standard input each line is a message, and only the answers go to standard output.
"""

SLASH_COMMANDS = ("/help", "/quit", "/reset", "/seed", "/system")


@dataclass
class Conversation:
    """What was said so far, and how the next answer is drawn."""

    params: aphrodite.SamplingParams
    system: str | None = None
    messages: list[dict[str, str]] = field(default_factory=list)

    def reset(self) -> None:
        self.messages = [{"role": "system", "content": self.system}] if self.system else []


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_flag(parser, "demo")
    parser.add_argument("--system", metavar="TEXT", help="the system message (default: none)")
    parser.add_argument("-q", "--quiet", action="store_true", help="no seed and speed on stderr (default: shown)")
    add_preset_flag(parser)
    add_sampling_flags(parser)
    add_engine_flags(parser)


def run(arguments: argparse.Namespace) -> int:
    params = aphrodite.SamplingParams.from_fields({"max_tokens": None, **preset_fields(arguments)})
    if params.n != 1:
        raise aphrodite.ParameterError("n", params.n, "1 in a chat")
    conversation = Conversation(params, arguments.system)
    conversation.reset()
    with open_model(arguments) as llm:
        if sys.stdin.isatty():
            terminal.note(f"{arguments.model} listens. /help shows what else can be typed, Ctrl-D ends.")
        while (line := _read_line()) is not None:
            if line.startswith("/"):
                if not _obey(line, conversation):
                    break
            elif line.strip():
                _answer(llm, conversation, line, arguments.quiet)
    return 0


def _read_line() -> str | None:
    """The next message; None at the end of input."""
    if not sys.stdin.isatty():
        line = sys.stdin.readline()
        return line.rstrip("\r\n") if line else None
    import readline  # noqa: F401 (importing it gives input() line editing and history)

    while True:
        try:
            # The prompt must be plain: escape codes confuse readline's idea of the line's width.
            return input("> ")
        except KeyboardInterrupt:
            print()
        except EOFError:
            print()
            return None


def _obey(line: str, conversation: Conversation) -> bool:
    """Do what a line that begins with / says; False ends the chat."""
    command, _, rest = line.partition(" ")
    rest = rest.strip()
    if command == "/quit":
        return False
    if command == "/help":
        terminal.note(EPILOG.split("\n\n")[0])
    elif command == "/reset":
        conversation.reset()
        terminal.note("forgotten")
    elif command == "/system":
        conversation.system = rest or None
        conversation.reset()
        terminal.note("begun again" if rest else "begun again without a system message")
    elif command == "/seed":
        _set_seed(conversation, rest)
    else:
        terminal.note(f"error: no such command {command}{nearest(command, SLASH_COMMANDS)} (/help shows all)")
    return True


def _set_seed(conversation: Conversation, text: str) -> None:
    try:
        conversation.params = conversation.params.with_fields(seed=int(text) if text else None)
    except ValueError:  # not a number, or out of range: ParameterError is a ValueError too
        terminal.note(f"error: /seed {text}: a whole number from 0 to 2**63 - 1")
    else:
        terminal.note(f"seed {text}" if text else "a new seed each time")


def _answer(llm: aphrodite.LLM, conversation: Conversation, question: str, quiet: bool) -> None:
    """Stream one answer and remember both sides; a question that cannot be answered is forgotten."""
    asked = [*conversation.messages, {"role": "user", "content": question}]
    pieces: list[str] = []
    tokens, reason, seed, started = 0, "interrupted", None, time.perf_counter()
    try:
        for event in llm.stream(asked, conversation.params):
            terminal.write(event.text)
            pieces.append(event.text)
            tokens, seed, reason = tokens + len(event.token_ids), event.seed, event.finish_reason or reason
    except KeyboardInterrupt:
        pass  # the engine has dropped the request; what was said stays in the conversation
    except aphrodite.ContextOverflowError as error:
        terminal.note(f"error: {error}; /reset begins again")
        return
    terminal.write("\n")
    conversation.messages = [*asked, {"role": "assistant", "content": "".join(pieces)}]
    if not quiet and seed is not None:
        terminal.note(f"seed {seed} · {terminal.speed(tokens, time.perf_counter() - started)} · {reason}")


COMMAND = Command("chat", "talk with a model in the terminal", add_arguments, run, epilog=EPILOG)
