"""The logit lens: what a model would say if it ended after each of its layers (nostalgebraist 2020).

The final norm and the head are applied to the residual stream after every layer; after the last one that is the model's
own distribution. https://www.lesswrong.com/posts/AcKRB8wDpdaN6v6ru/interpreting-gpt-the-logit-lens
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from aphrodite_engine.inside.hidden_states import ByLayer, LensView
from aphrodite_engine.inside.lens_table import lens_table
from aphrodite_engine.models.base import Decoder
from aphrodite_engine.sampling.ordering import entropy_of
from aphrodite_engine.sampling.row_sums import log_softmax

if TYPE_CHECKING:  # pandas takes half a second that only `.df` pays
    import pandas as pd

#: Rows of logits held at once: 152k words x 64 rows in float32 are 39 MB.
ROWS_AT_ONCE = 64


@dataclass(frozen=True)
class Lens:
    """What one prompt looks like through the lens. L layers, T tokens, K likeliest, F followed.

    Attributes:
        layers: the layers, in the order asked for.
        token_ids, tokens: of the prompt; row t of everything speaks of the token behind tokens[t].
        top_ids: (L, T, K) the likeliest tokens, the likeliest first.
        top_probabilities: (L, T, K).
        entropy: (L, T) of the whole distribution, nats.
        followed: ids that were asked for.
        followed_probability, followed_rank: (L, T, F); rank 1 is the likeliest.
        texts: of every id named here.
    """

    layers: tuple[int, ...]
    token_ids: tuple[int, ...]
    tokens: tuple[str, ...]
    top_ids: np.ndarray
    top_probabilities: np.ndarray
    entropy: np.ndarray
    followed: tuple[int, ...]
    followed_probability: np.ndarray
    followed_rank: np.ndarray
    texts: Mapping[int, str]

    @property
    def df(self) -> pd.DataFrame:
        """A row for every layer, position and one of its likeliest tokens."""
        return _frame(self._rows())

    @property
    def followed_df(self) -> pd.DataFrame:
        """A row for every layer, position and followed token, whatever its rank."""
        return _frame(self._followed_rows())

    def __repr__(self) -> str:
        return f"Lens({len(self.layers)} layers x {len(self.token_ids)} tokens, {self.top_ids.shape[2]} likeliest each)"

    def _repr_html_(self) -> str:
        best = [[self.texts[token_id] for token_id in row] for row in self.top_ids[:, :, 0].tolist()]
        return lens_table(self.layers, self.tokens, best, self.top_probabilities[:, :, 0], self.entropy)

    def _rows(self) -> Iterator[dict[str, Any]]:
        for (place, position, rank), token_id in np.ndenumerate(self.top_ids):
            probability = self.top_probabilities[place, position, rank]
            yield self._row(place, position, rank + 1, int(token_id), float(probability))

    def _followed_rows(self) -> Iterator[dict[str, Any]]:
        for (place, position, number), rank in np.ndenumerate(self.followed_rank):
            probability = self.followed_probability[place, position, number]
            yield self._row(place, position, int(rank), self.followed[number], float(probability))

    def _row(self, place: int, position: int, rank: int, token_id: int, probability: float) -> dict[str, Any]:
        return {
            "layer": self.layers[place],
            "position": position,
            "token": self.tokens[position],
            "rank": rank,
            "token_id": token_id,
            "token_text": self.texts[token_id],
            "probability": probability,
            "entropy_nats": float(self.entropy[place, position]),
        }


def read_states(model: Decoder, states: torch.Tensor, view: LensView) -> tuple[np.ndarray, ...]:
    """What the lens tells of states (R, hidden): ids (R, K), probabilities (R, K), entropy (R,), probability (R, F) and
    rank (R, F) of the followed. A row does not depend on the others."""
    parts = [_read(model.logits(model.finish(rows)), view) for rows in states.split(ROWS_AT_ONCE)]
    return tuple(torch.cat(kind).cpu().numpy() for kind in zip(*parts, strict=True))


def lens_of(found: ByLayer, token_ids: tuple[int, ...], tokens: tuple[str, ...], view: LensView, texts: Any) -> Lens:
    """The arrays of all layers as one.

    Args:
        texts: gives an id's text.
    """
    layers = tuple(found)
    ids, probabilities, entropy, followed, ranks = (np.stack(kind) for kind in zip(*found.values(), strict=True))
    named = {token_id: texts(token_id) for token_id in {*np.unique(ids).tolist(), *view.follow}}
    return Lens(layers, token_ids, tokens, ids, probabilities, entropy, view.follow, followed, ranks, named)


def _read(logits: torch.Tensor, view: LensView) -> tuple[torch.Tensor, ...]:
    logprobs = log_softmax(logits)
    top = torch.topk(logprobs, view.top, dim=1)
    # Of equal ones the lower id first, as everywhere.
    by_id = top.indices.sort(dim=1)
    values, order = top.values.gather(1, by_id.indices).sort(dim=1, descending=True, stable=True)
    followed = torch.tensor(view.follow, dtype=torch.int64, device=logits.device).expand(len(logits), -1)
    own = logprobs.gather(1, followed)
    ranks = torch.empty_like(own, dtype=torch.int64)
    for place in range(len(view.follow)):
        ranks[:, place] = (logprobs > own[:, [place]]).sum(1) + 1
    return by_id.values.gather(1, order), values.exp(), entropy_of(logprobs)[:, 0], own.exp(), ranks


def _frame(rows: Iterator[dict[str, Any]]) -> pd.DataFrame:
    import pandas as pd

    columns = ["layer", "position", "token", "rank", "token_id", "token_text", "probability", "entropy_nats"]
    return pd.DataFrame(list(rows), columns=columns)
