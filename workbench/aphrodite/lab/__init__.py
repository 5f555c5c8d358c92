"""What a researcher does with generations: compare two, grow a tree of branches, draw what was measured.

Names load on first use: nothing here costs anything before it is needed.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aphrodite.lab.comparison import Comparison, compare
    from aphrodite.lab.figures import figure
    from aphrodite.lab.tree import Node, Tree

__all__ = ["Comparison", "Node", "Tree", "compare", "figure"]

_HOME = {
    "Comparison": "aphrodite.lab.comparison",
    "Node": "aphrodite.lab.tree",
    "Tree": "aphrodite.lab.tree",
    "compare": "aphrodite.lab.comparison",
    "figure": "aphrodite.lab.figures",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'aphrodite.lab' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
