"""A token of an answer, looked at: its stages of sampling, and what to write on with instead."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

from aphrodite.client import AsyncClient
from aphrodite.display.generation import Generation
from aphrodite_apps.dashboard import answer_view
from aphrodite_apps.dashboard.notebook_cell import Asked
from aphrodite_engine.errors import AphroditeError
from aphrodite_engine.outputs import CompletionOutput
from aphrodite_engine.prompts import Continuation
from aphrodite_engine.visible import visible

#: Candidates of every stage.
_CANDIDATES = 10


@dataclass(frozen=True)
class Look:
    """What is shown of one token.

    Attributes:
        others: texts and ids of what else could have stood there, the most likely first.
    """

    html: str
    others: tuple[tuple[str, int], ...] = ()


async def look(client: AsyncClient, asked: Asked, output: CompletionOutput, place: int) -> Look:
    """Draw one token of an answer again, and see how. The rest is neither drawn again nor computed again.

    Args:
        place: of the token in the output, from 0.
    """
    if not len(output.given) <= place < len(output.token_ids):
        return Look(answer_view.wrong(f"token {place}: from {len(output.given)} to {len(output.token_ids) - 1}"))
    try:
        found = await _drawn_again(client, asked, output, place)
    except AphroditeError as error:
        return Look(answer_view.wrong(str(error)))
    token = found.tokens[place]
    others = [a for a in token.alternatives if a.token_id != token.token_id]
    title = f'<p class="look">Token {place}, <b>{escape(visible(token.text))}</b>: what each stage of sampling did</p>'
    listed = tuple((f"{visible(a.text)} · {a.probability:.1%}", a.token_id) for a in others)
    return Look(f'{title}<div class="stages">{found.stages(place).svg}</div>', listed)


async def _drawn_again(client: AsyncClient, asked: Asked, output: CompletionOutput, place: int) -> Generation:
    fields: dict[str, Any] = {**asked.fields, "trace": _CANDIDATES, "max_tokens": place + 1}
    fields["min_tokens"] = min(fields.get("min_tokens", 0), place + 1)
    before = Continuation(tuple(output.token_ids[:place]))
    assert isinstance(asked.prompt, str)  # of a conversation nothing is looked at yet
    (result,) = await client.generate(
        asked.prompt, answer_view.params(fields), model=asked.model or None, continuation=before
    )
    return Generation(result, asked.model, fields)
