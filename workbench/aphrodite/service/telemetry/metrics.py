"""What is counted and timed as it happens, for Prometheus; telemetry.scrape adds what can be read off the service.

Names are those of vLLM with our prefix, so a dashboard written for it needs no more than a replacement. Every label
takes its values from a bounded set: route templates, methods, ids of served models, names of keys.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator

from prometheus_client import ProcessCollector
from prometheus_client.core import Metric

from aphrodite.service.access import User
from aphrodite.service.engines.boundary import Admitted, Failed, ToEngine, Token, Vectors
from aphrodite.service.generation import News, Sink
from aphrodite.service.telemetry.tallies import Count, Counts, Histogram, Times

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
    "time_to_first_token": ("From the arrival of a request to the first token of a sequence.", _REQUEST_SECONDS),
    "e2e_request_latency": ("From the arrival of a request to the last token of a sequence.", _REQUEST_SECONDS),
    "request_queue_time": ("From the engine's acceptance of a request to its first step.", _REQUEST_SECONDS),
    "inter_token_latency": ("Between two arrivals of tokens of a sequence.", _TOKEN_SECONDS),
    "request_time_per_output_token": ("Mean time a token after the first, of a sequence.", _TOKEN_SECONDS),
}


class Metrics:
    """The counters and histograms of one service.

    Used in the event loop only.
    """

    def __init__(self) -> None:
        self._process = ProcessCollector(registry=None)
        self.requests = Counts("aphrodite_http_requests", "Requests answered.", ("method", "route", "status"))
        self.durations = Histogram(
            "aphrodite_http_request_duration_seconds", "From the first byte of a request to the last of its answer.",
            ("method", "route"), _REQUEST_SECONDS,
        )  # fmt: skip
        self.prompt_tokens = Counts("aphrodite_prompt_tokens", "Tokens of prompts.", ("model", "key"))
        self.output_tokens = Counts("aphrodite_generation_tokens", "Tokens generated.", ("model", "key"))
        self.finished = Counts(
            "aphrodite_request_success", "Sequences that ended, by reason.", ("model", "finished_reason")
        )
        self.failed = Counts(
            "aphrodite_request_failure", "Requests to an engine that ended otherwise, by reason.", ("model", "reason")
        )
        self.times = {
            name: Histogram(f"aphrodite_{name}_seconds", text, ("model",), bounds)
            for name, (text, bounds) in _SEQUENCE_SECONDS.items()
        }
        self._keys: set[str] = set()
        self._answered: dict[tuple[str, str, int], tuple[Count, Times]] = {}

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request has been answered, or its caller has left (status 0, as 499)."""
        series = self._answered.get((method, route, status))
        if series is None:
            series = self._series_of(method if method in _METHODS else OTHER, route, status)
        series[0].value += 1
        series[1].observe(seconds)

    def _series_of(self, method: str, route: str, status: int) -> tuple[Count, Times]:
        """Few: methods and routes are bounded, and so are the statuses that we give."""
        series = self.requests.of(method, route, str(status or 499)), self.durations.of(method, route)
        if method != OTHER:
            self._answered[method, route, status] = series
        return series

    def watch(self, model: str, user: User, _: ToEngine) -> Sink:
        """Who is told everything that the engine says about one request: an Observer."""
        return _Watch(self, label(model), self._bounded(label(user.name)))

    def keep_only(self, models: Collection[str]) -> None:
        """Forget the series of models that are not served any more."""
        kept = {label(model) for model in models}
        for family in (self.prompt_tokens, self.output_tokens, self.finished, self.failed, *self.times.values()):
            family.keep_only("model", kept)

    def collect(self) -> Iterator[Metric]:
        """Every family."""
        yield from self._process.collect()
        counts = (self.requests, self.prompt_tokens, self.output_tokens, self.finished, self.failed)
        for family in (*counts, self.durations, *self.times.values()):
            yield family.collect()

    def _bounded(self, key: str) -> str:
        if key not in self._keys:
            if len(self._keys) >= MAX_KEYS:
                return OTHER
            self._keys.add(key)
        return key


class _Sequence:
    """When its tokens came."""

    __slots__ = ("count", "first", "last")

    def __init__(self, now: float) -> None:
        self.first = self.last = now
        self.count = 0


class _Watch:
    """One request to an engine."""

    def __init__(self, metrics: Metrics, model: str, key: str) -> None:
        self._metrics, self._model = metrics, model
        self._began = time.perf_counter()
        self._sequences: dict[int, _Sequence] = {}
        self._prompt_tokens = metrics.prompt_tokens.of(model, key)
        self._output_tokens = metrics.output_tokens.of(model, key)
        self._between = metrics.times["inter_token_latency"].of(model)

    def __call__(self, news: News) -> None:
        if isinstance(news, list):
            self._take(news, time.perf_counter())
        elif isinstance(news, Admitted | Vectors):
            self._prompt_tokens.value += news.prompt_tokens
        elif isinstance(news, Failed):
            self._metrics.failed.of(self._model, news.problem.kind).value += 1

    def _take(self, tokens: list[Token], now: float) -> None:
        for token in tokens:
            if token.token_ids:
                sequence = self._sequences.get(token.index) or self._begin(token.index, now)
                if sequence.last != now:
                    self._between.observe(now - sequence.last)
                    sequence.last = now
                sequence.count += len(token.token_ids)
                self._output_tokens.value += len(token.token_ids)
            if token.finish_reason is not None:
                self._sequence_ended(token, now)

    def _begin(self, index: int, now: float) -> _Sequence:
        self._observe("time_to_first_token", now - self._began)
        sequence = self._sequences[index] = _Sequence(now)
        return sequence

    def _sequence_ended(self, token: Token, now: float) -> None:
        self._metrics.finished.of(self._model, str(token.finish_reason)).value += 1
        self._observe("e2e_request_latency", now - self._began)
        if token.timing is not None:
            self._observe("request_queue_time", token.timing[0] / 1000)
        sequence = self._sequences.get(token.index)
        if sequence is not None and sequence.count > 1:
            seconds = (sequence.last - sequence.first) / (sequence.count - 1)
            self._observe("request_time_per_output_token", seconds)

    def _observe(self, name: str, seconds: float) -> None:
        self._metrics.times[name].of(self._model).observe(seconds)


def label(value: str) -> str:
    """A value as it may stand in a label: short, and nothing in it that a terminal obeys."""
    return "".join(c if c.isprintable() else "?" for c in value[:_LONGEST_LABEL])
