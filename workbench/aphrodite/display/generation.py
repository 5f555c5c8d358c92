"""Generations as a notebook's cells return them: one, or those of several prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aphrodite.display import generation_html, generation_table
from aphrodite.display.forks import Fork, label
from aphrodite.display.generation_html import LiveSequences
from aphrodite.display.markdown import quoted
from aphrodite.display.shade import Shade, checked
from aphrodite.display.stages import Stages
from aphrodite.display.token_html import FORK, kept_text
from aphrodite.display.tokens import token_rows
from aphrodite.display.trace import Trace
from aphrodite_engine.outputs import CompletionOutput, GenerationResult, Timing
from aphrodite_engine.tokens import Token

if TYPE_CHECKING:  # pandas and ipywidgets take half a second that only `.df` and `.view()` pay
    import pandas as pd
    import plotly.graph_objects as go

    from aphrodite.lab import Comparison
    from aphrodite.lab.figures import Kind
    from aphrodite.widgets.branch_tree import BranchTree
    from aphrodite.widgets.token_view import TokenView
    from aphrodite_engine.recipe import Recipe

Bundle = tuple[dict[str, str], dict[str, Any]]


@dataclass(frozen=True)
class Usage:
    """Tokens of one request."""

    prompt_tokens: int
    output_tokens: int
    cached_tokens: int


class Generation:
    """What one prompt gave.

    Attributes:
        result: the engine's own result.
        model: the name it was asked under.
        params: the sampling fields that were given.
        shade: what its tokens are shaded by: "probability", "entropy" or "none".
        question: what a person asked; `result.prompt` is what the model read, with a chat's marks.
        fork: of a branch, where it leaves what it was branched off from.
        branches: what was branched off from this one, here or by a click in one of its widgets.
    """

    def __init__(
        self,
        result: GenerationResult,
        model: str,
        params: Mapping[str, Any],
        shade: Shade = "probability",
        question: str | None = None,
    ) -> None:
        self.result, self.model, self.params = result, model, dict(params)
        self.question = result.prompt if question is None else question
        self.shade: Shade = checked(shade)
        self.fork: Fork | None = None
        self.branches: list[Generation] = []
        self._live: LiveSequences | None = None

    @property
    def text(self) -> str:
        return self.result.text

    @property
    def texts(self) -> list[str]:
        """Of each of the n sequences."""
        return [output.text for output in self.result.outputs]

    @property
    def tokens(self) -> list[Token]:
        """Of the first sequence."""
        return self.result.tokens

    @property
    def logprobs(self) -> list[float | None]:
        """Of the first sequence's tokens; None where they were not asked for."""
        return [token.logprob for token in self.tokens]

    @property
    def seed(self) -> int:
        return self.result.seed

    @property
    def finish_reason(self) -> str | None:
        return self.result.outputs[0].finish_reason

    @property
    def timing(self) -> Timing | None:
        return self.result.timing

    @property
    def usage(self) -> Usage:
        output = sum(len(output.token_ids) for output in self.result.outputs)
        return Usage(len(self.result.prompt_token_ids), output, self.result.num_cached_tokens)

    def figure(self, kind: Kind = "probabilities", *, index: int = 0, position: int = 0) -> go.Figure:
        """One sequence as a plotly figure: "probabilities" or "entropy" along its tokens, "survival" through the stages
        of sampling, or the "stages" or "candidates" of one token.

        Raises:
            ParameterError: what is not there, or what the request did not ask for (logprobs, trace).
        """
        from aphrodite.lab import figure

        return figure(self, kind, index=index, position=position)

    @property
    def df(self) -> pd.DataFrame:
        """One row a sequence."""
        import pandas as pd

        return pd.DataFrame(rows_of(self))

    @property
    def tokens_df(self) -> pd.DataFrame:
        """One row a token of every sequence: its place, text, probabilities, rank and entropy."""
        import pandas as pd

        return pd.DataFrame([row for output in self.result.outputs for row in token_rows(output)])

    @property
    def trace(self) -> Trace:
        """What every stage of sampling did to the tokens of the first sequence.

        Raises:
            ValueError: the request did not ask for it (`trace=5`).
        """
        return Trace(self.result.outputs[0])

    @property
    def recipe(self) -> Recipe:
        """What is needed to make it again: `.save("story.json")`, and `aphrodite replay story.json`.

        Raises:
            OriginError: it was put together by hand.
        """
        return self.result.recipe

    def stages(self, position: int) -> Stages:
        """What every stage of sampling did at one position of the first sequence, as small multiples.

        Raises:
            ValueError: the request did not ask for it (`trace=5`); no such position.
        """
        return self.trace.at(position)

    def branch(
        self, at: int, token: int | str | None = None, seed: int | None = None, index: int = 0, **fields: Any
    ) -> Generation:
        """Write on from before token `at`, with another token there, another seed, or other fields from there on.

        Args:
            at: position in the sequence; what stands before it is kept.
            token: an id, or a text that is exactly one token.
            index: of the sequence, among those of this generation.
            fields: of SamplingParams, as in temperature=0.5.

        Raises:
            ParameterError: no such position, token or field.
        """
        result = self.result.branch(at, token=token, seed=seed, index=index, **fields)
        given = result.outputs[0].given
        kept = len(given) - (token is not None)
        asked = self.params | fields | ({} if seed is None else {"seed": seed})
        found = Generation(result, self.model, asked, self.shade, self.question)
        found.fork = Fork(index, kept, label(None if token is None else given[-1], seed, fields), seed)
        self.branches.append(found)
        return found

    def tree(self, index: int = 0) -> BranchTree:
        """A widget of this generation and all its branches: click one to read it, one of its tokens to branch."""
        from aphrodite.widgets.branch_tree import BranchTree

        return BranchTree(self, index)

    def compare(self, other: Generation) -> Comparison:
        """Where two generations part, and how likely each held the other's tokens."""
        from aphrodite.lab import compare

        return compare(self.result, other.result)

    def shaded(self, shade: str) -> Generation:
        """The same, shown with its tokens shaded by "probability", by "entropy" or not at all ("none").

        Raises:
            ValueError: none of the three.
        """
        found = Generation(self.result, self.model, self.params, checked(shade), self.question)
        found.fork, found.branches = self.fork, self.branches
        return found

    def view(self, index: int = 0) -> TokenView:
        """A widget of one sequence: hover or walk over its tokens, choose the shade, click one (`.selected`) to see
        what else could have stood there, and one of those to write on from there (`.branches`)."""
        from aphrodite.widgets.token_view import TokenView

        generation = None if self.result.origin is None else self
        return TokenView(self.result.outputs[index], model=self.model, shade=self.shade, generation=generation)

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return self._marked() if len(self.result.outputs) == 1 else "\n\n".join(self._numbered())

    def _marked(self) -> str:
        """The text; in a branch's, a sign stands between what was kept and what is its own."""
        kept = 0 if self.fork is None else len(kept_text(self.result.outputs[0], self.fork.at))
        return f"{self.text[:kept]}{FORK}{self.text[kept:]}" if kept else self.text

    def _numbered(self) -> list[str]:
        return [f"[{output.index}] {output.text}" for output in self.result.outputs]

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> Bundle:
        """HTML, Markdown and plain text; times, which differ from run to run, go into the output's metadata."""
        if not self.result.finished:
            return {"text/plain": repr(self), "text/html": self._live_html()}, {}
        kept = None if self.fork is None else self.fork.at
        html = generation_html.whole(self.result.outputs, self.model, self.shade, kept)
        return {"text/plain": repr(self), "text/html": html, "text/markdown": self._markdown()}, self._volatile()

    def _live_html(self) -> str:
        if self._live is None or self._live.shade != self.shade:
            self._live = LiveSequences(self.shade)
        return self._live.html(self.result.outputs, self.model)

    def _markdown(self) -> str:
        outputs = self.result.outputs
        if len(outputs) == 1:
            return quoted(self._marked())
        return "\n\n".join(f"**{output.index}**\n\n{quoted(output.text)}" for output in outputs)

    def _volatile(self) -> dict[str, Any]:
        timing = self.timing
        times = {} if timing is None else {"ttft_ms": timing.ttft_ms, "total_ms": timing.total_ms, "seed": self.seed}
        return {"aphrodite": times}


def rows_of(generation: Generation) -> list[dict[str, Any]]:
    """One row a sequence: what was asked, what came, how long it took."""
    result, timing = generation.result, generation.timing
    shared = {
        "model": generation.model,
        "prompt": generation.question,
        **generation.params,
        "prompt_tokens": len(result.prompt_token_ids),
    }
    return [
        shared
        | {
            "index": output.index,
            "seed": output.seed,
            "text": output.text,
            "finish_reason": output.finish_reason,
            "output_tokens": len(output.token_ids),
            "ttft_ms": timing.ttft_ms if timing else None,
            "total_ms": timing.total_ms if timing else None,
            "output_tok_s": _speed(output, timing),
        }
        for output in result.outputs
    ]


def _speed(output: CompletionOutput, timing: Timing | None) -> float | None:
    if timing is None or len(output.token_ids) < 2 or timing.total_ms <= timing.ttft_ms:
        return None
    return 1e3 * (len(output.token_ids) - 1) / (timing.total_ms - timing.ttft_ms)


class Generations(Sequence[Generation]):
    """Generations of several prompts: a table to look at, `.df` and `.tokens_df` to compute with."""

    def __init__(self, generations: Sequence[Generation]) -> None:
        self._generations = list(generations)

    def __getitem__(self, index: Any) -> Any:
        found = self._generations[index]
        return Generations(found) if isinstance(index, slice) else found

    def __len__(self) -> int:
        return len(self._generations)

    @property
    def texts(self) -> list[str]:
        return [generation.text for generation in self._generations]

    @property
    def df(self) -> pd.DataFrame:
        """One row a sequence; `generation` is its place in this list."""
        import pandas as pd

        numbered = enumerate(self._generations)
        return pd.DataFrame([{"generation": n, **row} for n, generation in numbered for row in rows_of(generation)])

    @property
    def tokens_df(self) -> pd.DataFrame:
        """One row a token; `generation` is the place in this list, the others are those of a generation's."""
        import pandas as pd

        outputs = ((n, output) for n, g in enumerate(self._generations) for output in g.result.outputs)
        return pd.DataFrame([{"generation": n, **row} for n, output in outputs for row in token_rows(output)])

    def __repr__(self) -> str:
        return generation_table.plain(self._lines())

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> Bundle:
        lines = self._lines()
        bundle = {
            "text/plain": generation_table.plain(lines),
            "text/html": generation_table.html(lines),
            "text/markdown": generation_table.markdown(lines),
        }
        return bundle, {}

    def _lines(self) -> list[generation_table.Line]:
        return [
            generation_table.Line(number, generation.question or "", output, generation.model, generation.shade)
            for number, generation in enumerate(self._generations)
            for output in generation.result.outputs
        ]
