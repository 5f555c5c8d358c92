"""`/metrics` as Prometheus reads it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections import defaultdict
from dataclasses import replace

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from aphrodite.service.access import User
from aphrodite.service.engines import boundary
from aphrodite.service.telemetry.metrics import MAX_KEYS, OTHER, Metrics
from tests.service.running import DEMO, Running, running, wait_for

QUESTION = [{"role": "user", "content": "What is 39 + 48?"}]
STORY = [{"role": "user", "content": "Tell me a story about a fox named Pip."}]

NAMES = {
    "aphrodite_http_requests", "aphrodite_http_request_duration_seconds", "aphrodite_requests_in_flight",
    "aphrodite_time_to_first_token_seconds", "aphrodite_inter_token_latency_seconds",
    "aphrodite_request_time_per_output_token_seconds", "aphrodite_e2e_request_latency_seconds",
    "aphrodite_request_queue_time_seconds", "aphrodite_num_requests_running", "aphrodite_num_requests_waiting",
    "aphrodite_kv_cache_usage_perc", "aphrodite_prefix_cache_queries", "aphrodite_prefix_cache_hits",
    "aphrodite_prompt_tokens", "aphrodite_generation_tokens", "aphrodite_num_preemptions",
    "aphrodite_engine_restarts", "aphrodite_request_success", "aphrodite_request_failure", "aphrodite_model_ready",
    "aphrodite_engine_resident_memory_bytes", "process_resident_memory_bytes", "aphrodite_build_info",
}  # fmt: skip


class Scrape:
    """The samples of one scrape, by name and labels."""

    def __init__(self, client: httpx2.Client) -> None:
        answer = client.get("/metrics")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        self.text = answer.text
        self.families = {family.name: family for family in text_string_to_metric_families(answer.text)}
        self.samples: dict[str, list[tuple[dict[str, str], float]]] = defaultdict(list)
        for family in self.families.values():
            for sample in family.samples:
                self.samples[sample.name].append((sample.labels, sample.value))

    def sum(self, name: str, **labels: str) -> float:
        """Of the samples that have these labels."""
        return sum(value for found, value in self.samples[name] if labels.items() <= found.items())

    def labels(self, name: str, label: str) -> set[str]:
        return {found[label] for found, _ in self.samples[name]}


def ask(client: httpx2.Client, **fields: object) -> httpx2.Response:
    body = {"model": "demo", "messages": QUESTION, "max_tokens": 8, **fields}
    return client.post("/v1/chat/completions", json=body)


def test_everything_that_is_promised_is_there(http: httpx2.Client) -> None:
    ask(http)
    found = Scrape(http)
    assert set(found.families) >= NAMES
    assert all(family.documentation for family in found.families.values())


def test_promtool_has_nothing_to_say(http: httpx2.Client) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        assert os.environ.get("CI") != "true", "promtool is missing; .ci/environment installs it under CI=true"
        pytest.skip("promtool is not installed (Debian: apt-get install prometheus)")
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=Scrape(http).text, capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_requests_are_counted_by_template_method_and_status(http: httpx2.Client) -> None:
    before = Scrape(http)
    http.get("/v1/models/demo")
    http.get("/v1/models/nobody")
    http.get("/v1/no/such/route")
    http.request("PURGE", "/v1/models")
    ask(http)
    ask(http, temperature=9)
    after = Scrape(http)

    def grew(**labels: str) -> float:
        name = "aphrodite_http_requests_total"
        return after.sum(name, **labels) - before.sum(name, **labels)

    assert grew(method="GET", route="/v1/models/{model:path}", status="200") == 1
    assert grew(method="GET", route="/v1/models/{model:path}", status="404") == 1
    assert grew(method="GET", route=OTHER, status="404") == 1
    assert grew(method=OTHER, status="405") == 1
    assert grew(method="POST", route="/v1/chat/completions", status="200") == 1
    assert grew(method="POST", route="/v1/chat/completions", status="400") == 1


def test_durations_have_buckets_up_to_ten_minutes(http: httpx2.Client) -> None:
    ask(http)
    bounds = Scrape(http).labels("aphrodite_http_request_duration_seconds_bucket", "le")
    assert {"0.005", "1.0", "600.0", "+Inf"} <= bounds


def test_tokens_are_those_of_the_answer_under_key_and_model(service: Running, http: httpx2.Client) -> None:
    with service.client(headers=service.admin) as admin:
        key = admin.post("/admin/keys", json={"name": "metrics-dana"}).json()["key"]
        with service.client(headers={"authorization": f"Bearer {key}"}) as dana:
            usage = ask(dana, n=2).json()["usage"]
        assert admin.delete("/admin/keys/metrics-dana").status_code == 200
    found = Scrape(http)
    labels = {"key": "metrics-dana", "model": "demo"}
    assert found.sum("aphrodite_prompt_tokens_total", **labels) == usage["prompt_tokens"]
    assert found.sum("aphrodite_generation_tokens_total", **labels) == usage["completion_tokens"]


def test_every_token_is_timed(http: httpx2.Client) -> None:
    before = Scrape(http)
    usage = ask(http, messages=STORY, max_tokens=20, ignore_eos=True).json()["usage"]
    after = Scrape(http)

    def grew(name: str) -> float:
        return after.sum(f"aphrodite_{name}", model="demo") - before.sum(f"aphrodite_{name}", model="demo")

    assert usage["completion_tokens"] == 20
    for name in ("time_to_first_token", "e2e_request_latency", "request_queue_time", "request_time_per_output_token"):
        assert grew(f"{name}_seconds_count") == 1, name
    assert 1 <= grew("inter_token_latency_seconds_count") <= 19  # tokens that arrive together are one arrival
    first, whole = grew("time_to_first_token_seconds_sum"), grew("e2e_request_latency_seconds_sum")
    assert 0 < first <= whole < 60
    assert grew("inter_token_latency_seconds_sum") == pytest.approx(whole - first, abs=0.01)


def test_a_caller_who_leaves_leaves_no_gauge_behind(service: Running, http: httpx2.Client) -> None:
    before = Scrape(http)
    endless = {"model": "demo", "messages": STORY, "ignore_eos": True, "max_tokens": 1900, "stream": True}
    with service.client() as client, client.stream("POST", "/v1/chat/completions", json=endless) as stream:
        lines = stream.iter_lines()
        next(lines)
        wait_for(lambda: Scrape(http).sum("aphrodite_num_requests_running") == 1, 10)
        assert Scrape(http).sum("aphrodite_requests_in_flight") == 1

    def is_quiet() -> bool:
        now = Scrape(http)
        gauges = ("requests_in_flight", "num_requests_running", "num_requests_waiting", "kv_cache_usage_perc")
        return all(now.sum(f"aphrodite_{name}") == 0 for name in gauges)

    wait_for(is_quiet, 10)
    name = "aphrodite_request_failure_total"
    assert Scrape(http).sum(name, reason="closed") == before.sum(name, reason="closed") + 1


def test_a_prompt_seen_before_is_a_hit_in_the_prefix_cache(http: httpx2.Client) -> None:
    long = [{"role": "user", "content": "Sort these words: " + "pear apple fig " * 40}]
    ask(http, messages=long, max_tokens=1)
    before = Scrape(http)
    cached = ask(http, messages=long, max_tokens=1).json()["usage"]["prompt_tokens_details"]["cached_tokens"]
    assert cached > 0

    def hits() -> bool:
        name = "aphrodite_prefix_cache_hits_total"
        return Scrape(http).sum(name) >= before.sum(name) + cached

    wait_for(hits, 5)


def test_embeddings_count_their_prompts(pair_http: httpx2.Client) -> None:
    body = {"model": "all-MiniLM-L6-v2", "input": ["a red fox", "a brown bear"]}
    before = Scrape(pair_http)
    usage = pair_http.post("/v1/embeddings", json=body).json()["usage"]
    name = "aphrodite_prompt_tokens_total"
    grew = Scrape(pair_http).sum(name, model=body["model"]) - before.sum(name, model=body["model"])
    assert grew == usage["prompt_tokens"] > 0


def test_a_wrong_key_reads_no_metrics(http: httpx2.Client) -> None:
    assert http.get("/metrics", headers={"authorization": "Bearer wrong"}).status_code == 401


def test_names_of_keys_are_bounded() -> None:
    metrics = Metrics()
    for number in range(3 * MAX_KEYS):
        sink = metrics.watch("demo", replace(User(), name=f"key-{number}"), boundary.Generate(0, {}))
        sink(boundary.Admitted(number, seed=0, prompt_tokens=1))
    family = next(family for family in metrics.collect() if family.name == "aphrodite_prompt_tokens")
    assert len(family.samples) == MAX_KEYS + 1
    assert sum(sample.value for sample in family.samples) == 3 * MAX_KEYS


@pytest.mark.slow
def test_engines_that_die_or_go_are_counted_and_forgotten() -> None:
    with running() as service, service.client(headers=service.admin) as http:
        second = {"model": "demo", "names": ["second"], "engine": DEMO.engine}
        assert http.post("/admin/load", json=second).status_code == 200
        ask(http, model="second")
        assert Scrape(http).labels("aphrodite_generation_tokens_total", "model") == {"second"}
        http.post("/admin/unload", json={"model": "second"})
        gone = Scrape(http)
        assert not any(labels.get("model") == "second" for found in gone.samples.values() for labels, _ in found)

        os.kill(service.engine_pid(), signal.SIGKILL)
        wait_for(lambda: Scrape(http).sum("aphrodite_engine_restarts_total", model="demo") == 1, 10)
        wait_for(lambda: Scrape(http).sum("aphrodite_model_ready", model="demo") == 1, 30)
