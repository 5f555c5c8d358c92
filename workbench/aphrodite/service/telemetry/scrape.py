"""`/metrics`: what telemetry.metrics has counted, and what can be read off the service at this moment.

Gauges are never kept: a request that fails, or an engine that dies, cannot leave one behind.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import dataclass

import prometheus_client
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from aphrodite import __version__
from aphrodite.service.engines.boundary import Stats
from aphrodite.service.engines.engine_process import EngineProcess, State
from aphrodite.service.http.call import Call
from aphrodite.service.http.endpoint import Endpoint
from aphrodite.service.http.replies import Reply
from aphrodite.service.service import Service
from aphrodite.service.telemetry.metrics import label

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True)
class _Reading(Collector):
    """Everything there is to say about a service now."""

    service: Service

    def collect(self) -> Iterator[Metric]:
        self.service.metrics.keep_only(self.service.models.ids())
        yield from self.service.metrics.collect()
        yield from _of_service(self.service)
        yield from _of_engines(list(self.service.models))


def _of_service(service: Service) -> Iterator[Metric]:
    build = {"version": __version__, "python": platform.python_version()}
    yield InfoMetricFamily("aphrodite_build", "What runs here.", build)
    yield GaugeMetricFamily("aphrodite_requests_in_flight", "Requests being answered.", service.in_flight)
    yield GaugeMetricFamily("aphrodite_draining", "1 while the service shuts down.", int(service.draining))


def _of_engines(engines: list[EngineProcess]) -> Iterator[Metric]:
    """A family each, with a sample for every model."""
    for kind, table in ((GaugeMetricFamily, _GAUGES), (CounterMetricFamily, _COUNTERS)):
        for name, text, read in table:
            family = kind(f"aphrodite_{name}", text, labels=("model",))
            for engine in engines:
                family.add_metric((label(engine.settings.id),), read(engine))
            yield family


def _stats(engine: EngineProcess) -> Stats:
    """What a process that is gone said last is not true any more."""
    return engine.stats if engine.pid is not None else Stats()


def _kv_use(engine: EngineProcess) -> float:
    stats = _stats(engine)
    return stats.kv_blocks_used / stats.kv_blocks if stats.kv_blocks else 0.0


_GAUGES = (
    ("model_ready", "1 while the model takes work.", lambda e: int(e.state is State.READY)),
    ("num_requests_running", "Sequences that the engine computes in its steps.", lambda e: _stats(e).running),
    ("num_requests_waiting", "Sequences that wait for their first step.", lambda e: _stats(e).waiting),
    ("kv_cache_usage_perc", "Share of the KV blocks that are held, 1 is all of them.", _kv_use),
    ("engine_resident_memory_bytes", "Memory of the engine process.", lambda e: _stats(e).resident_bytes),
)
#: Those of the engine begin at zero when its process is started again, as Prometheus expects of counters.
_COUNTERS = (
    ("prefix_cache_queries", "Prompt tokens looked up in the prefix cache.", lambda e: _stats(e).prompt_tokens),
    ("prefix_cache_hits", "Prompt tokens found in the prefix cache.", lambda e: _stats(e).cached_tokens),
    ("num_preemptions", "Sequences that gave their KV blocks back.", lambda e: _stats(e).preemptions),
    ("engine_restarts", "Times the engine process had to be started again.", lambda e: e.restarts),
)


async def metrics(call: Call) -> Reply:
    return Reply(prometheus_client.generate_latest(_Reading(call.service)), content_type=CONTENT_TYPE)


ENDPOINTS = (
    Endpoint(
        "GET", "/metrics", metrics, "Counters, histograms and gauges in Prometheus' text format.",
        answer_type=CONTENT_TYPE, tag="Service",
    ),
)  # fmt: skip
