"""Parse, dispatch, and turn every foreseen failure into one line and an exit code."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

import aphrodite
from aphrodite_apps.cli import (
    chat,
    down,
    embed,
    generate,
    keys,
    lab,
    load,
    logs,
    plan,
    presets,
    replay,
    share,
    sleep,
    status,
    top,
    tour,
    ui,
    unload,
    up,
    version,
    wake,
)
from aphrodite_apps.cli.command import Parser, UsageError, nearest
from aphrodite_engine.errors import AphroditeError, ParameterError

COMMANDS = (
    *(up.COMMAND, ui.COMMAND, status.COMMAND, top.COMMAND, logs.COMMAND, down.COMMAND),
    *(load.COMMAND, unload.COMMAND, sleep.COMMAND, wake.COMMAND),
    *(lab.COMMAND, keys.COMMAND, share.COMMAND),
    *(generate.COMMAND, replay.COMMAND, chat.COMMAND, embed.COMMAND),
    *(presets.COMMAND, plan.COMMAND, tour.COMMAND, version.COMMAND),
)

EXIT_FAILURE, EXIT_USAGE, EXIT_INTERRUPTED, EXIT_PIPE = 1, 2, 130, 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code: 0 done, 1 the engine refused, 2 a mistake in the command line."""
    try:
        return _run(sys.argv[1:] if argv is None else list(argv))
    except (UsageError, ParameterError) as error:
        return _fail(error, EXIT_USAGE)
    except AphroditeError as error:
        return _fail(error, EXIT_FAILURE)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader (head, less) has what it wanted. Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_PIPE


def overview() -> Parser:
    """The parser of `aphrodite` itself; each command has one of its own, built only when it is called."""
    width = max(len(command.name) for command in COMMANDS)
    lines = [f"  {command.name:<{width}}  {command.summary}" for command in COMMANDS]
    parser = Parser(
        prog="aphrodite",
        usage="aphrodite COMMAND [flags]",
        description="A research workbench for language models.",
        epilog="commands:\n" + "\n".join(lines) + "\n\n`aphrodite COMMAND --help` explains each flag.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=aphrodite.__version__)
    return parser


def command_parser(name: str) -> Parser:
    """The parser of one sub-command."""
    command = next(command for command in COMMANDS if command.name == name)
    parser = Parser(
        prog=f"aphrodite {name}",
        usage=f"aphrodite {name} {command.usage}",
        description=command.summary[0].upper() + command.summary[1:] + ".",
        epilog=command.epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.add_arguments(parser)
    return parser


def _run(argv: list[str]) -> int:
    names = [command.name for command in COMMANDS]
    if not argv or argv[0].startswith("-"):
        overview().parse(argv)
        overview().print_help()
        return 0
    name = argv[0]
    if name not in names:
        raise UsageError(f"no such command {name!r}{nearest(name, names)} (commands: {', '.join(names)})")
    arguments = command_parser(name).parse(argv[1:])
    return COMMANDS[names.index(name)].run(arguments)


def _fail(error: Exception, code: int) -> int:
    sys.stdout.flush()
    line = " ".join(str(error).split())
    print(f"error: {line}", file=sys.stderr)
    return code
