"""Any data frame (pandas, polars, Arrow) as rows of plain values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import narwhals as nw

from aphrodite_engine.errors import ParameterError

Row = dict[str, Any]


def rows_of(df: Any, needed: Sequence[str]) -> list[Row]:
    """The rows in order; what is missing is None, never NaN.

    Raises:
        ParameterError: no data frame, no rows, or a column that is needed is not there.
    """
    try:
        frame = nw.from_native(df, eager_only=True)
    except TypeError as error:
        raise ParameterError("df", type(df).__name__, "a data frame of pandas, polars or Arrow") from error
    missing = [name for name in needed if name not in frame.columns]
    if missing:
        raise ParameterError("df", frame.columns, f"a data frame with the columns {', '.join(needed)}")
    if not len(frame):
        raise ParameterError("df", "no rows", "a data frame with at least one row")
    return [{name: _known(value) for name, value in row.items()} for row in frame.iter_rows(named=True)]


def column(rows: Sequence[Row], name: str) -> list[Any]:
    return [row.get(name) for row in rows]


def _known(value: Any) -> Any:
    """None for NaN and for pandas' NA, the value itself otherwise."""
    if value is None or (isinstance(value, float) and math.isnan(value)) or type(value).__name__ == "NAType":
        return None
    return value
