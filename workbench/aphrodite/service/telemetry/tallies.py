"""Counters and histograms that cost a fraction of a microsecond: for one thread, so nothing of them is locked."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Sequence
from itertools import accumulate
from typing import Generic, TypeVar

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.utils import floatToGoString

T = TypeVar("T")


class Count:
    """How many so far: add to `value`."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0


class Times:
    """How many there were up to each bound, and their sum."""

    __slots__ = ("_bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        """One more."""
        self.counts[bisect_left(self._bounds, seconds)] += 1
        self.sum += seconds


class _Family(Generic[T]):
    """Series of one name, by the values of their labels."""

    def __init__(self, name: str, text: str, labels: Sequence[str], make: Callable[[], T]) -> None:
        self._name, self._text, self._labels, self._make = name, text, labels, make
        self._series: dict[tuple[str, ...], T] = {}

    def of(self, *values: str) -> T:
        """The series of these labels: whoever needs it often keeps it."""
        series = self._series.get(values)
        if series is None:
            series = self._series[values] = self._make()
        return series

    def keep_only(self, label: str, values: Collection[str]) -> None:
        """Forget the series with another value of this label."""
        place = self._labels.index(label)
        self._series = {labels: series for labels, series in self._series.items() if labels[place] in values}


class Counts(_Family[Count]):
    """A counter."""

    def __init__(self, name: str, text: str, labels: Sequence[str]) -> None:
        super().__init__(name, text, labels, Count)

    def collect(self) -> CounterMetricFamily:
        """As Prometheus' library writes it out."""
        family = CounterMetricFamily(self._name, self._text, labels=self._labels)
        for labels, count in self._series.items():
            family.add_metric(labels, count.value)
        return family


class Histogram(_Family[Times]):
    """A histogram of times."""

    def __init__(self, name: str, text: str, labels: Sequence[str], bounds: Sequence[float]) -> None:
        super().__init__(name, text, labels, lambda: Times(bounds))
        self._bounds = [*map(floatToGoString, bounds), "+Inf"]

    def collect(self) -> HistogramMetricFamily:
        """As Prometheus' library writes it out."""
        family = HistogramMetricFamily(self._name, self._text, labels=self._labels)
        for labels, times in self._series.items():
            family.add_metric(labels, list(zip(self._bounds, accumulate(times.counts), strict=True)), times.sum)
        return family
