"""The same mixed batch alone, together, in another order, and over HTTP: `python experiments/samplers/together.py`.

Every request of `mixed` is asked one by one of an engine that keeps nothing; what it answers there (tokens, text,
log-probabilities, why it ended) must come back wherever else it is asked. Writes results/together.json and the table of
README.md; ends with status 1 if anything differs.

    --url URL   ask a service that runs already (it must serve the bundled model), instead of one started for this
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parents[1])]

from aphrodite import LLM, Client  # noqa: E402
from aphrodite_engine.outputs import CompletionOutput, GenerationResult  # noqa: E402
from experiments.samplers.mixed import Ask, batch, shuffled  # noqa: E402
from tests.service.running import running  # noqa: E402

RESULTS, README = HERE / "results" / "together.json", HERE / "README.md"
BEGIN, END = "<!-- together -->", "<!-- end of together -->"
_MEMORY = 64 << 20
Outcome = list[CompletionOutput]
Way = Callable[[Sequence[Ask]], list[Outcome]]


@dataclass(frozen=True)
class Found:
    """What one way of asking gave beside asking alone."""

    way: str
    requests: int
    tokens: int
    different: list[str]
    seconds: float


def outcomes(results: Sequence[GenerationResult]) -> list[Outcome]:
    return [result.outputs for result in results]


def one_by_one(asks: Sequence[Ask]) -> list[Outcome]:
    with LLM("demo", enable_prefix_caching=False, kv_cache_memory=_MEMORY) as llm:
        return [outcomes(llm.generate(ask.prompt, ask.params))[0] for ask in asks]


def together(**settings: Any) -> Way:
    """All in one call of an engine with these settings."""

    def ask_all(asks: Sequence[Ask]) -> list[Outcome]:
        with LLM("demo", **{"kv_cache_memory": _MEMORY, **settings}) as llm:
            return outcomes(llm.generate([ask.prompt for ask in asks], [ask.params for ask in asks]))

    return ask_all


def in_another_order(asks: Sequence[Ask]) -> list[Outcome]:
    order = shuffled(len(asks))
    found = together()([asks[place] for place in order])
    return [found[order.index(place)] for place in range(len(asks))]


def over_http(url: str, callers: int) -> Way:
    """Of a running service, by so many callers at once, each with its share of the requests."""

    def ask_all(asks: Sequence[Ask]) -> list[Outcome]:
        with Client(url) as client, ThreadPoolExecutor(callers) as pool:
            return list(pool.map(lambda ask: outcomes(client.generate(ask.prompt, ask.params))[0], asks))

    return ask_all


@contextlib.contextmanager
def service(url: str | None) -> Iterator[str]:
    """A running service: the one that was named, else one of our own."""
    if url:
        yield url
    else:
        with running() as started:
            yield started.url


def compare(way: str, ask_all: Way, asks: Sequence[Ask], expected: Sequence[Outcome]) -> Found:
    """Ask this way, and name the requests that were answered otherwise."""
    began = time.perf_counter()
    found = ask_all(asks)
    seconds = time.perf_counter() - began
    different = [ask.what for ask, one, other in zip(asks, found, expected, strict=True) if one != other]
    tokens = sum(len(output.token_ids) for outcome in found for output in outcome)
    print(f"{way:44} {len(asks):4} requests {tokens:6} tokens  different: {', '.join(different) or 'none'}", flush=True)
    return Found(way, len(asks), tokens, different, round(seconds, 1))


def run(asks: Sequence[Ask], url: str | None) -> list[Found]:
    """Alone first, then every other way."""
    expected = one_by_one(asks)
    found = [compare("one by one again, in a new engine", one_by_one, asks, expected)]
    ways = {
        "together": together(),
        "together, in another order": in_another_order,
        "together, 7 tokens a step": together(max_num_batched_tokens=7),
        "together, nothing cached": together(enable_prefix_caching=False),
        "together, in memory for a few": together(kv_cache_memory=2 << 20, max_model_len=256),
    }
    with service(url) as address:
        ways |= {"over HTTP, one by one": over_http(address, 1), "over HTTP, 16 at a time": over_http(address, 16)}
        return [*found, *(compare(way, ask_all, asks, expected) for way, ask_all in ways.items())]


def table(found: Sequence[Found]) -> str:
    """For README.md."""
    lines = ["| asked | requests | tokens | different |", "|---|---|---|---|"]
    return "\n".join([*lines, *(f"| {f.way} | {f.requests} | {f.tokens:,} | {len(f.different)} |" for f in found)])


def refresh(found: Sequence[Found]) -> None:
    """Put the table between the README's two marks."""
    before, rest = README.read_text().split(BEGIN, 1)
    README.write_text(f"{before}{BEGIN}\n\n{table(found)}\n\n{END}{rest.split(END, 1)[1]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--url", help="a running service with the bundled model; without it one is started")
    found = run(batch(), parser.parse_args().url)
    RESULTS.write_text(json.dumps([vars(one) for one in found], indent=1) + "\n")
    refresh(found)
    sys.exit(any(one.different for one in found))


if __name__ == "__main__":
    main()
