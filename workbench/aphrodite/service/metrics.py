"""What is counted and timed as it happens, for Prometheus; scrape.py adds what can be read off the service.

Names are those of vLLM with our prefix, so a dashboard written for it needs no more than a replacement. Every label
takes its values from a bounded set: route templates, methods, ids of served models, names of keys.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import Metric

from aphrodite.service.access import User
from aphrodite.service.boundary import Admitted, Failed, FromEngine, ToEngine, Token, Vectors
from aphrodite.service.generation import Sink

#: Whoever comes after so many names of keys is counted together with the others.
MAX_KEYS = 200
OTHER = "other"

_METHODS = frozenset(("GET", "HEAD", "POST", "DELETE", "PUT", "PATCH", "OPTIONS"))
_LONGEST_LABEL = 128
_REQUEST_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 60, 120, 300, 600)
_TOKEN_SECONDS = (
    *(0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.075),
    *(0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 10),
)
_SEQUENCE_SECONDS = {
    "time_to_first_token": "From the arrival of a request to the first token of a sequence.",
    "e2e_request_latency": "From the arrival of a request to the last token of a sequence.",
    "request_queue_time": "From the engine's acceptance of a request to its first step.",
}


class Metrics:
    """The counters and histograms of one service, in a registry of their own.

    Used in the event loop only.
    """

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.requests = Counter(
            "aphrodite_http_requests", "Requests answered.", ("method", "route", "status"), registry=registry
        )
        self.durations = Histogram(
            "aphrodite_http_request_duration_seconds", "From the first byte of a request to the last of its answer.",
            ("method", "route"), registry=registry, buckets=_REQUEST_SECONDS,
        )  # fmt: skip
        self.prompt_tokens = Counter(
            "aphrodite_prompt_tokens", "Tokens of prompts.", ("model", "key"), registry=registry
        )
        self.output_tokens = Counter(
            "aphrodite_generation_tokens", "Tokens generated.", ("model", "key"), registry=registry
        )
        self.finished = Counter(
            "aphrodite_request_success", "Sequences that ended, by reason.", ("model", "finished_reason"),
            registry=registry,
        )  # fmt: skip
        self.failed = Counter(
            "aphrodite_request_failure", "Requests to an engine that ended otherwise, by reason.", ("model", "reason"),
            registry=registry,
        )  # fmt: skip
        self.times = {
            name: Histogram(f"aphrodite_{name}_seconds", text, ("model",), registry=registry, buckets=_REQUEST_SECONDS)
            for name, text in _SEQUENCE_SECONDS.items()
        }
        self.between = Histogram(
            "aphrodite_inter_token_latency_seconds", "Between two arrivals of tokens of a sequence.", ("model",),
            registry=registry, buckets=_TOKEN_SECONDS,
        )  # fmt: skip
        self.per_token = Histogram(
            "aphrodite_request_time_per_output_token_seconds", "Mean time a token after the first, of a sequence.",
            ("model",), registry=registry, buckets=_TOKEN_SECONDS,
        )  # fmt: skip
        self._keys: set[str] = set()
        self._answered: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request has been answered, or its caller has left (status 0, as 499)."""
        method = method if method in _METHODS else OTHER
        series = self._answered.get((method, route, status))
        if series is None:  # few: methods and routes are bounded, and so are the statuses that we give
            series = self.requests.labels(method, route, str(status or 499)), self.durations.labels(method, route)
            self._answered[method, route, status] = series
        series[0].inc()
        series[1].observe(seconds)

    def watch(self, model: str, user: User, _: ToEngine) -> Sink:
        """Who is told everything that the engine says about one request: an Observer."""
        return _Watch(self, label(model), self._bounded(label(user.name)))

    def keep_only(self, models: Collection[str]) -> None:
        """Forget the series of models that are not served any more."""
        kept = {label(model) for model in models}
        families = (self.prompt_tokens, self.output_tokens, self.finished, self.failed, self.between)
        for family in (*families, self.per_token, *self.times.values()):
            gone = {s.labels["model"] for metric in family.collect() for s in metric.samples} - kept
            for model in gone:
                family.remove_by_labels({"model": model})

    def collect(self) -> Iterator[Metric]:
        """Every family; without the `_created` series of the library, which double what has to be stored."""
        for family in self._registry.collect():
            family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
            yield family

    def _bounded(self, key: str) -> str:
        if key not in self._keys:
            if len(self._keys) >= MAX_KEYS:
                return OTHER
            self._keys.add(key)
        return key


class _Watch:
    """One request to an engine. The way of a token through here costs about two microseconds."""

    def __init__(self, metrics: Metrics, model: str, key: str) -> None:
        self._metrics, self._model = metrics, model
        self._began = time.perf_counter()
        self._first: dict[int, float] = {}
        self._last: dict[int, float] = {}
        self._counts: dict[int, int] = {}
        self._prompt_tokens = metrics.prompt_tokens.labels(model, key)
        self._output_tokens = metrics.output_tokens.labels(model, key)
        self._between = metrics.between.labels(model)

    def __call__(self, message: FromEngine | Token) -> None:
        if isinstance(message, Token):
            self._token(message)
        elif isinstance(message, Admitted | Vectors):
            self._prompt_tokens.inc(message.prompt_tokens)
        elif isinstance(message, Failed):
            self._metrics.failed.labels(self._model, message.problem.kind).inc()

    def _token(self, token: Token) -> None:
        now, index, count = time.perf_counter(), token.index, len(token.token_ids)
        if count:
            last = self._last.get(index)
            if last is None:
                self._first[index], self._counts[index] = now, 0
                self._observe("time_to_first_token", now - self._began)
            else:
                self._between.observe(now - last)
            self._last[index] = now
            self._counts[index] += count
            self._output_tokens.inc(count)
        if token.finish_reason is not None:
            self._sequence_ended(token, now)

    def _sequence_ended(self, token: Token, now: float) -> None:
        self._metrics.finished.labels(self._model, token.finish_reason).inc()
        self._observe("e2e_request_latency", now - self._began)
        if token.timing is not None:
            self._observe("request_queue_time", token.timing[0] / 1000)
        later_tokens = self._counts.get(token.index, 0) - 1
        if later_tokens > 0:
            seconds = (self._last[token.index] - self._first[token.index]) / later_tokens
            self._metrics.per_token.labels(self._model).observe(seconds)

    def _observe(self, name: str, seconds: float) -> None:
        self._metrics.times[name].labels(self._model).observe(seconds)


def label(value: str) -> str:
    """A value as it may stand in a label: short, and nothing in it that a terminal obeys."""
    return "".join(c if c.isprintable() else "?" for c in value[:_LONGEST_LABEL])
