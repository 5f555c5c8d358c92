"""A tree of branches: click one to read it, click one of its tokens to write on from there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from traitlets import Bool, Enum, Int, List

from aphrodite.display import tree_html
from aphrodite.display.forks import Row, rows
from aphrodite.display.generation import Generation
from aphrodite.display.shade import SHADES, checked
from aphrodite.display.token_html import kept_text
from aphrodite.display.tree_html import Limb
from aphrodite.widgets.growing import Branch, Growing
from aphrodite.widgets.sequence import NOTHING, Json, module, sequence
from aphrodite.widgets.static import WithStaticForm

if TYPE_CHECKING:  # pandas and plotly take half a second that only `.df` and `.figure()` pay
    import pandas as pd
    import plotly.graph_objects as go

    from aphrodite.lab import Tree

_PENDING = NOTHING | {"facts": "writing on …"}


class BranchTree(WithStaticForm):
    """A generation and all that was branched off from it, here or by `.branch()`.

    Args:
        index: of the generation's sequence that is the root.

    Attributes:
        chosen: whose text is shown: 0 is the root, n the n-th branch; a click changes it, and so does assigning it.
        shade: "probability", "entropy" or "none".
        limbs: what the JavaScript shows of each, in the order in which they are drawn.
        can_branch: whether a click on an alternative writes on with it.
    """

    _esm = module("branch_tree")

    chosen = Int(0).tag(sync=True)
    shade = Enum(SHADES, "probability").tag(sync=True)
    limbs = List().tag(sync=True)
    can_branch = Bool(True).tag(sync=True)

    def __init__(self, generation: Generation, index: int = 0) -> None:
        self._root, self._index = generation, index
        self._growing = Growing(generation, index, self._grown, _known(generation, index))
        super().__init__(shade=generation.shade, limbs=self._shown())
        self.on_msg(self._told)

    @property
    def branches(self) -> list[Generation]:
        """All that were branched off, in the order they were."""
        return self._growing.generations

    @property
    def selected(self) -> Generation | None:
        """The one whose text is shown; None while it is being written."""
        return self._root if self.chosen == 0 else self._growing.branches[self.chosen - 1].generation

    @property
    def tree(self) -> Tree:
        """The same without a widget, to compute with."""
        from aphrodite.lab import Tree

        found, numbers = Tree(self._root.result, self._index), {0: 0}
        for place, branch in enumerate(self._growing.branches, start=1):
            if branch.generation is not None:
                made = branch.generation
                seed = None if made.fork is None else made.fork.seed
                numbers[place] = found.take(made.result, branch.at, numbers[branch.of], seed).number
        return found

    @property
    def df(self) -> pd.DataFrame:
        """One row a sequence: node, parent, at, token, seed, text (its own), tokens, mean_logprob, finish_reason."""
        return self.tree.df

    def figure(self) -> go.Figure:
        """The tree with plotly."""
        return self.tree.figure()

    def branch(self, at: int, token_id: int | None = None, of: int = 0) -> None:
        """What a click does: write on from before token `at` of a sequence (0 is the root, n the n-th branch) with
        another token (None: another draw), beside the kernel."""
        self._growing.ask(of, at, token_id)

    def wait(self) -> None:
        """Until the branches that were asked for are there."""
        self._growing.wait()

    def static_form(self) -> Mapping[str, str]:
        limbs = self._limbs()
        plain = tree_html.plain(limbs)
        html = tree_html.html(limbs, self._root.model, checked(self.shade))
        return {"text/plain": plain, "text/html": html, "text/markdown": f"```text\n{plain}\n```"}

    def _told(self, widget: object, message: Any, buffers: object) -> None:
        if message.get("kind") == "branch":
            self.branch(message["at"], message["token_id"], message["of"])

    def _grown(self) -> None:
        self.limbs = self._shown()

    def _shown(self) -> list[Json]:
        model = self._root.model
        return [
            {
                "place": limb.row.place, "level": limb.row.level, "up": limb.row.up, "at": limb.at, "label": limb.label,
                "length": limb.length, "told": limb.told, "problem": limb.problem,
                **(_PENDING if limb.output is None else sequence(limb.output, model, limb.at)),
            }
            for limb in self._limbs()
        ]  # fmt: skip

    def _limbs(self) -> list[Limb]:
        """In the order in which they are drawn."""
        branches = list(self._growing.branches)
        drawn = rows([(branch.of, branch.at) for branch in branches])
        root = self._root.result.outputs[self._index]
        return [
            _limb(row, branches[row.place - 1]) if row.place else Limb(row, 0, "", root.text, root) for row in drawn
        ]


def _limb(row: Row, branch: Branch) -> Limb:
    if branch.generation is None:
        return Limb(row, branch.at, branch.label, "writing on …", None, branch.problem)
    output = branch.generation.result.outputs[0]
    own = output.text[len(kept_text(output, branch.at)) :]
    return Limb(row, branch.at, branch.label, own, output)


def _known(root: Generation, index: int) -> list[Branch]:
    """What was branched off from this sequence before, and from its branches."""
    found: list[Branch] = []

    def add(generation: Generation, index: int, of: int) -> None:
        for branch in generation.branches:
            if branch.fork is not None and branch.fork.index == index:
                found.append(Branch(of, branch.fork.at, branch.fork.label, branch))
                add(branch, 0, len(found))

    add(root, index, 0)
    return found
