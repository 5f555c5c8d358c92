"""A sequence whose tokens can be looked at: hover or walk over them, choose what the shade means, click one to see what
else could have stood there, and write on from there with that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from traitlets import Bool, Dict, Enum, Int, List

from aphrodite.display import generation_html
from aphrodite.display.generation import Generation
from aphrodite.display.markdown import quoted
from aphrodite.display.shade import SHADES, Shade, checked
from aphrodite.widgets.growing import Branch, Growing
from aphrodite.widgets.sequence import NOTHING, Json, module, sequence
from aphrodite.widgets.static import WithStaticForm
from aphrodite_engine.outputs import CompletionOutput


class TokenView(WithStaticForm):
    """One sequence of a generation, and the branches that were clicked from it.

    Args:
        generation: that the sequence is of, so that it can be written on; without it there is only to look at.

    Attributes:
        shade: "probability", "entropy" or "none"; the widget's switch changes it, and so does assigning it.
        selected: the place of the clicked token, from 0; None where none is, or after a second click.
        sequence: what the JavaScript shows: the text, dealt out to its tokens.
        can_branch: whether a click on an alternative writes on with it.
        branched: what the JavaScript shows of each branch.
    """

    _esm = module("token_view")

    shade = Enum(SHADES, "probability").tag(sync=True)
    selected = Int(None, allow_none=True).tag(sync=True)
    sequence = Dict().tag(sync=True)
    can_branch = Bool(False).tag(sync=True)
    branched = List().tag(sync=True)

    def __init__(
        self,
        output: CompletionOutput,
        *,
        model: str = "",
        shade: Shade = "probability",
        generation: Generation | None = None,
    ) -> None:
        self._output, self._model = output, model
        self._growing = None if generation is None else Growing(generation, output.index, self._grown)
        kept = None if generation is None or generation.fork is None else generation.fork.at
        super().__init__(shade=shade, sequence=sequence(output, model, kept), can_branch=self._growing is not None)
        self.on_msg(self._told)

    @property
    def branches(self) -> list[Generation]:
        """What was branched off, in the order of the clicks; each is a generation like any other."""
        return [] if self._growing is None else self._growing.generations

    def branch(self, at: int, token_id: int | None = None, of: int = 0) -> None:
        """What a click does: write on from before token `at` with another token (None: another draw), beside the
        kernel; `of` is 0 for the view's own sequence, n for its n-th branch.

        Raises:
            ValueError: this view has nothing to write on with.
        """
        if self._growing is None:
            raise ValueError("this view shows a sequence without what it was made from: nothing can branch off")
        self._growing.ask(of, at, token_id)

    def wait(self) -> None:
        """Until the branches that were asked for are there."""
        if self._growing is not None:
            self._growing.wait()

    def static_form(self) -> Mapping[str, str]:
        html = generation_html.whole([self._output], self._model, checked(self.shade))
        return {"text/plain": self._output.text, "text/html": html, "text/markdown": quoted(self._output.text)}

    def _told(self, widget: object, message: Any, buffers: object) -> None:
        if message.get("kind") == "branch":
            self.branch(message["at"], message["token_id"], message["of"])

    def _grown(self) -> None:
        assert self._growing is not None
        self.branched = [_shown(branch, self._model) for branch in self._growing.branches]


def _shown(branch: Branch, model: str) -> Json:
    about = {"of": branch.of, "at": branch.at, "label": branch.label, "problem": branch.problem}
    if branch.generation is None:
        return NOTHING | about | {"facts": "writing on …"}
    return about | sequence(branch.generation.result.outputs[0], model, branch.at)
