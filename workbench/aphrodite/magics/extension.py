"""`%aphrodite` and `%%aphrodite`: words to a sub-command, a cell to a prompt."""

from __future__ import annotations

from typing import Any

from IPython.core.magic import Magics, line_cell_magic, magics_class, no_var_expand
from traitlets import Unicode

from aphrodite.argument_parser import nearest
from aphrodite.magics import commands
from aphrodite.magics.command import Command
from aphrodite.magics.completion import matcher
from aphrodite.magics.errors import UsageError
from aphrodite.magics.notebook import Notebook
from aphrodite.magics.parser import HelpShown, parser_of, words_of
from aphrodite.magics.question_mark import help_asked
from aphrodite.magics.settings import KNOWN, Settings
from aphrodite_engine.errors import AphroditeError


@magics_class
class AphroditeMagics(Magics):
    """Talk to the Aphrodite service."""

    url = Unicode("", help=KNOWN["url"][1]).tag(config=True)
    model = Unicode("", help=KNOWN["model"][1]).tag(config=True)
    preset = Unicode("", help=KNOWN["preset"][1]).tag(config=True)
    port = Unicode("", help=KNOWN["port"][1]).tag(config=True)
    display = Unicode("", help=KNOWN["display"][1]).tag(config=True)
    shade = Unicode("", help=KNOWN["shade"][1]).tag(config=True)

    def __init__(self, shell: Any) -> None:
        super().__init__(shell=shell)
        self.notebook = Notebook(shell, Settings(self))
        self.matcher = matcher(self.notebook)

    @no_var_expand
    @line_cell_magic
    def aphrodite(self, line: str, cell: str | None = None) -> Any:
        """%aphrodite SUB-COMMAND [flags], or %%aphrodite [flags] with the prompt as the cell; --help explains."""
        try:
            return self._line(line) if cell is None else self._cell(line, cell)
        except HelpShown:
            return None
        except AphroditeError as error:
            # A user's mistake or a service that is not there: one line says it, a traceback would hide it.
            raise UsageError(" ".join(str(error).split())) from None

    def _cell(self, line: str, cell: str) -> None:
        from aphrodite.magics import prompt_cell  # numpy, a tenth of a second that %load_ext need not take

        arguments = prompt_cell.parser().parse(words_of(line))
        if not cell.strip():
            raise UsageError("the cell is empty: write the prompt below %%aphrodite")
        # IPython ends a cell with a line end that nobody typed, and a model would go on in the next line.
        prompt_cell.run(self.notebook, arguments, cell.removesuffix("\n"))

    def _line(self, line: str) -> Any:
        words = words_of(line)
        if not words or words[0] in ("-h", "--help"):
            words = ["help", *words[1:]]
        command = _find(words[0])
        return command.run(self.notebook, parser_of(command).parse(words[1:]))


def load(shell: Any) -> None:
    """`%load_ext aphrodite`."""
    magics = AphroditeMagics(shell)
    shell.register_magics(magics)
    shell.configurables.append(magics)  # `%config AphroditeMagics` finds it there
    shell.input_transformers_cleanup.append(help_asked)
    shell.Completer.custom_matchers.append(magics.matcher)


def unload(shell: Any) -> None:
    """`%unload_ext aphrodite`, and the first half of `%reload_ext`; the service runs on."""
    magics = shell.magics_manager.registry.pop("AphroditeMagics")
    magics.notebook.disconnect()
    shell.configurables.remove(magics)
    shell.input_transformers_cleanup.remove(help_asked)
    shell.Completer.custom_matchers.remove(magics.matcher)
    for kind in ("line", "cell"):
        del shell.magics_manager.magics[kind]["aphrodite"]


def _find(name: str) -> Command:
    known = commands.names()
    if name not in known:
        raise UsageError(f"no such sub-command {name!r}{nearest(name, known)} (known: {', '.join(known)})")
    return commands.find(name)
