"""Figures of what was measured: each takes a data frame (pandas, polars, Arrow) and gives a plotly Figure.

`plots.token_probabilities(generation.tokens_df)`. They stand on light and dark pages, read in grey, and use only traces
that plotly.js 3 and 4 share. Plotly is loaded with the first figure.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aphrodite.lab.plots.along_text import perplexity, token_entropy, token_probabilities
    from aphrodite.lab.plots.bars import scores
    from aphrodite.lab.plots.branching import branch_tree
    from aphrodite.lab.plots.layers import lens
    from aphrodite.lab.plots.panels import stages
    from aphrodite.lab.plots.strips import comparison
    from aphrodite.lab.plots.through_stages import candidates, survival

_HOME = {
    "branch_tree": "branching",
    "candidates": "through_stages",
    "comparison": "strips",
    "lens": "layers",
    "perplexity": "along_text",
    "scores": "bars",
    "stages": "panels",
    "survival": "through_stages",
    "token_entropy": "along_text",
    "token_probabilities": "along_text",
}

__all__ = [
    "branch_tree",
    "candidates",
    "comparison",
    "lens",
    "perplexity",
    "scores",
    "stages",
    "survival",
    "token_entropy",
    "token_probabilities",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'aphrodite.lab.plots' has no attribute {name!r}")
    value = getattr(import_module(f"aphrodite.lab.plots.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
