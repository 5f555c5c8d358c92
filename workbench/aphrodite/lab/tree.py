"""A tree of generations: each branch leaves another at a token and writes on by itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aphrodite.display.generation import Generation
from aphrodite.display.shares import Shares
from aphrodite.lab import tree_html
from aphrodite.lab.told import Session, Told, whom_to_ask
from aphrodite_engine.errors import ParameterError
from aphrodite_engine.outputs import CompletionOutput, GenerationResult
from aphrodite_engine.param_checks import Range
from aphrodite_engine.params import MAX_LOGPROBS
from aphrodite_engine.visible import visible

if TYPE_CHECKING:  # pandas and plotly take half a second that only `.df` and `.figure()` pay
    import pandas as pd
    import plotly.graph_objects as go


@dataclass(frozen=True)
class Node:
    """One sequence of a tree.

    Attributes:
        number: 0 is the root, n the n-th branch.
        result: its whole generation, what it shares with its parent included.
        index: of the sequence among those of the result.
        parent, at: the node it leaves, and the position of the first token that it does not share; None of the root.
        seed: with which it was branched off; None of the root and where a token was chosen.
    """

    number: int
    result: GenerationResult
    index: int = 0
    parent: int | None = None
    at: int | None = None
    seed: int | None = None

    @property
    def output(self) -> CompletionOutput:
        return self.result.outputs[self.index]

    @property
    def token_ids(self) -> list[int]:
        return self.output.token_ids

    @property
    def token(self) -> str | None:
        """The one that stands where it leaves."""
        if self.at is None or self.at >= len(self.token_ids):
            return None
        return self.output.tokens[self.at].text

    @property
    def text(self) -> str:
        """From where it leaves."""
        tokens = [token.text for token in self.output.tokens]
        shares = Shares()
        shares.add(tokens, self.output.text, is_whole=True)
        return "".join(shares.of[self.at or 0 :]) + self.output.text[shares.end :]

    @property
    def mean_logprob(self) -> float | None:
        """Of the tokens that were drawn behind where it leaves, by the model's own distribution, nats."""
        known = [token.raw_logprob for token in self.output.tokens[self.at or 0 :]]
        drawn = [logprob for logprob in known if logprob is not None]
        return sum(drawn) / len(drawn) if drawn else None


class Tree(Sequence[Node]):
    """A generation and what is branched off from it; `tree[0]` is the root, `tree[n]` the n-th branch.

    Args:
        root: a result of an LLM or of a client, which still is open.
        index: of its sequence.
        session: asked by `expand` for alternatives that the generation does not report; None asks who made it.

    Raises:
        ParameterError: no generation, or an index that it does not have.
    """

    def __init__(self, root: GenerationResult | Generation, index: int = 0, session: Session | None = None) -> None:
        result = root.result if isinstance(root, Generation) else root
        if not isinstance(result, GenerationResult):
            raise ParameterError("root", root, "a generation")
        if index not in range(len(result.outputs)):
            raise ParameterError("index", index, f"0 to {len(result.outputs) - 1}, the sequences of the root")
        self._nodes = [Node(0, result, index)]
        self._session = session

    def __getitem__(self, number: Any) -> Any:
        return self._nodes[number]

    def __len__(self) -> int:
        return len(self._nodes)

    def branch(
        self, at: int, token: int | str | None = None, seed: int | None = None, of: int = 0, **changed: Any
    ) -> Node:
        """Write on from before token `at` of a node, with another token or another seed.

        Args:
            token: an id, or the text of exactly one token.
            of: the node that is left.
            **changed: fields of SamplingParams that shall differ.

        Raises:
            ParameterError: a node or a position that is not there; what GenerationResult.branch refuses.
        """
        parent = self._node(of)
        result = parent.result.branch(at, token=token, seed=seed, index=parent.index, **changed)
        return self.take(result, at, of, seed)

    def take(self, result: GenerationResult, at: int, of: int = 0, seed: int | None = None) -> Node:
        """What was branched off a node elsewhere, as by a click.

        Raises:
            ParameterError: a node that is not there.
        """
        self._nodes.append(Node(len(self._nodes), result, 0, self._node(of).number, at, seed))
        return self._nodes[-1]

    def expand(self, at: int, k: int = 3, of: int = 0, **changed: Any) -> list[Node]:
        """Branch into the `k` most likely tokens that a node could have had at a position instead of its own.

        Raises:
            ParameterError: k out of range; what branch() refuses.
        """
        Range(1, MAX_LOGPROBS - 2, whole=True).check("k", k)
        node = self._node(of)
        Range(0, len(node.token_ids) - 1, whole=True).check("at", at)
        drawn_by = self._drawn_by(node, at)
        besides = {node.token_ids[at], drawn_by.token_ids[at]}
        session = whom_to_ask(drawn_by.result, self._session)
        others = Told(drawn_by.result, drawn_by.index, session).alternatives(at, k, besides)
        return [self.branch(at, token=token_id, of=of, **changed) for token_id in others]

    @property
    def df(self) -> pd.DataFrame:
        """One row a node: node, parent, at, token, seed, text (from where it leaves), tokens (of all of it),
        mean_logprob (nats), finish_reason."""
        import pandas as pd

        rows = [
            {"node": node.number, "parent": node.parent, "at": node.at, "token": node.token, "seed": node.seed,
             "text": node.text, "tokens": len(node.token_ids), "mean_logprob": node.mean_logprob,
             "finish_reason": node.output.finish_reason}
            for node in self._nodes
        ]  # fmt: skip
        whole = {name: "Int64" for name in ("parent", "at")}
        return pd.DataFrame(rows).astype(whole)

    def figure(self) -> go.Figure:
        """A line a branch, along the tokens, from where it leaves to its end."""
        from aphrodite.lab import plots

        return plots.branch_tree(self.df)

    def __repr__(self) -> str:
        return "\n".join("   " * depth + _line(node) for depth, node in self._in_depth())

    def _repr_html_(self) -> str:
        return tree_html.html([(depth, _lead(node), node.text) for depth, node in self._in_depth()])

    def _in_depth(self, number: int = 0, depth: int = 0) -> Iterator[tuple[int, Node]]:
        """Each node, and behind it what leaves it, the earliest first."""
        yield depth, self._nodes[number]
        children = [node for node in self._nodes if node.parent == number]
        for child in sorted(children, key=lambda node: node.at or 0):
            yield from self._in_depth(child.number, depth + 1)

    def _drawn_by(self, node: Node, at: int) -> Node:
        """The one of which position `at` was drawn: what a branch shares with its parent, and the token that was chosen
        for it, were given to it."""
        while node.parent is not None and at <= (node.at or 0):
            node = self._nodes[node.parent]
        return node

    def _node(self, number: int) -> Node:
        if isinstance(number, bool) or number not in range(len(self._nodes)):
            raise ParameterError("of", number, f"a node of this tree, 0 to {len(self._nodes) - 1}")
        return self._nodes[number]


def _lead(node: Node) -> str:
    """What makes it another, and how likely its tokens were."""
    origin = "root" if node.at is None else f"at {node.at} {visible(node.token or '')}"
    seed = "" if node.seed is None else f", seed {node.seed}"
    mean = "" if node.mean_logprob is None else f", {node.mean_logprob:.2f} nats a token"
    return f"[{node.number}] {origin}{seed}{mean}"


def _line(node: Node) -> str:
    words = " ".join(node.text.split())
    return f"{_lead(node)}: {words if len(words) <= 80 else f'{words[:79]}…'}"
