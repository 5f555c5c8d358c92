"""Counters and histograms as Prometheus reads them."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from aphrodite.service.telemetry.tallies import Counts, Histogram


class _Only(Collector):
    def __init__(self, family: Counts | Histogram) -> None:
        self._family = family

    def collect(self) -> list[Metric]:
        return [self._family.collect()]


def written(family: Counts | Histogram) -> list[str]:
    registry = CollectorRegistry()
    registry.register(_Only(family))
    return [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]


def test_a_histogram_s_buckets_hold_what_is_up_to_their_bound() -> None:
    family = Histogram("seconds", "Times.", ("model",), (0.5, 1))
    for seconds in (0.1, 0.5, 0.75, 3):
        family.of("demo").observe(seconds)
    assert written(family) == [
        'seconds_bucket{le="0.5",model="demo"} 2.0',
        'seconds_bucket{le="1.0",model="demo"} 3.0',
        'seconds_bucket{le="+Inf",model="demo"} 4.0',
        'seconds_count{model="demo"} 4.0',
        'seconds_sum{model="demo"} 4.35',
    ]


def test_series_are_kept_apart_and_forgotten_by_a_label() -> None:
    family = Counts("tokens", "Tokens.", ("model", "key"))
    for model, key in (("a", "x"), ("a", "x"), ("a", "y"), ("b", "x")):
        family.of(model, key).value += 1
    assert written(family) == [
        'tokens_total{key="x",model="a"} 2.0',
        'tokens_total{key="y",model="a"} 1.0',
        'tokens_total{key="x",model="b"} 1.0',
    ]
    family.keep_only("model", {"b"})
    assert written(family) == ['tokens_total{key="x",model="b"} 1.0']
