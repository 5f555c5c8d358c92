"""What stands in for a widget where no script runs: exported pages, code hosts, and whoever asked for it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import anywidget

Bundle = tuple[dict[str, Any], dict[str, Any]]


class WithStaticForm(anywidget.AnyWidget):
    """A widget whose mime bundle holds HTML, Markdown and text too; APHRODITE_DISPLAY=static leaves nothing else."""

    def static_form(self) -> Mapping[str, str]:
        """What it shows now, by mime type; text/plain among them."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return self.static_form()["text/plain"]

    def _repr_mimebundle_(self, **kwargs: Any) -> Bundle:
        static = dict(self.static_form())
        if os.environ.get("APHRODITE_DISPLAY", "rich") != "rich":
            return static, {}
        live = super()._repr_mimebundle_(**kwargs)
        assert live is not None  # every widget of ours has a view
        data, metadata = live
        return data | static, metadata
