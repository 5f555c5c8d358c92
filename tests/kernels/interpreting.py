"""Triton's interpreter, made to behave like a GPU where that matters to what is tested."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np
import pytest

from aphrodite_kernels import dispatch

INTERPRETED = dispatch.interpreted()


def can_be_interpreted(item: pytest.Item) -> bool:
    """Whether a test runs on a backend, is quick enough, and needs neither threads nor bfloat16 (which is cut off).

    Of the ops that take the interpreter longest float16 is left out, too.
    """
    fixtures: list[str] = getattr(item, "fixturenames", [])
    if "backend" not in fixtures or "threads" in fixtures or "bfloat16" in item.name:
        return False
    slow = "float16" in item.name and "test_row_ops" not in item.nodeid
    return not slow and item.get_closest_marker("not_interpreted") is None


@contextmanager
def interpreter_as_a_gpu() -> Iterator[None]:
    """While entered, products treat rows alike, and what a mask throws away may overflow without a warning."""
    if not INTERPRETED:
        yield
        return
    from triton.runtime.interpreter import InterpreterBuilder

    with np.errstate(all="ignore"), mock.patch.object(InterpreterBuilder, "create_dot", _dot):
        yield


def _dot(builder: Any, a: Any, b: Any, d: Any, precision: object, imprecise: object) -> Any:
    """a (M, K) times b (K, N) plus d, each element added up over K in order.

    The interpreter's own product is BLAS's, which gives a row other bits in another place of a tile.
    """
    from triton.runtime.interpreter import TensorHandle

    kind = d.data.dtype
    products = a.data.astype(kind)[:, :, None] * b.data.astype(kind)[None]
    return TensorHandle(np.add.reduce(products, axis=1) + d.data, d.dtype.scalar)
