"""Texts out of the user's variables: a list, an array, a column of pandas, polars or Arrow."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from aphrodite.magics.errors import UsageError
from aphrodite.magics.notebook import Notebook
from aphrodite.magics.templating import value_of


def texts_of(notebook: Notebook, flag: str, expression: str) -> list[str]:
    """The texts that a flag names, as in `--prompts questions` or `--prompts df.question`.

    Raises:
        UsageError: it is no list of texts; says why.
    """
    found = _listed(f"{flag} {expression}", value_of(expression, notebook.names))
    for place, text in enumerate(found):
        if not isinstance(text, str):
            raise UsageError(f"{flag} {expression}: item {place} is {text!r:.40}, not a text")
    if not found:
        raise UsageError(f"{flag} {expression}: it is empty")
    return found


def _listed(where: str, value: Any) -> list[Any]:
    import narwhals as nw

    if isinstance(value, str | bytes | dict) or not isinstance(value, Iterable):
        raise UsageError(f"{where}: a list of texts or a column, not {type(value).__name__}")
    native: Any = nw.from_native(value, pass_through=True, allow_series=True)
    if isinstance(native, nw.Series):
        return native.to_list()
    if isinstance(native, nw.DataFrame | nw.LazyFrame):
        columns = ", ".join(native.collect_schema().names())
        raise UsageError(f"{where}: a table; name one of its columns ({columns}), as in df.column")
    pylist = getattr(value, "to_pylist", None)  # an Arrow array, which is no column of a table
    return list(value) if pylist is None else pylist()
