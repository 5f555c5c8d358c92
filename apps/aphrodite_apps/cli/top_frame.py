"""One frame of `aphrodite top`, drawn from two answers of /admin/status."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from aphrodite_apps.cli import terminal

_BARS = "▁▂▃▄▅▆▇█"
_KEPT = 120
_STATE_STYLES = {"ready": "green", "asleep": "dim", "starting": "cyan"}

Status = Mapping[str, Any]


class History:
    """The last answers and when they came; what is shown as "a second" is the difference of the last two."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._answers: deque[tuple[float, Status]] = deque(maxlen=2)
        self.output_rates: deque[float] = deque(maxlen=_KEPT)

    def __len__(self) -> int:
        return len(self._answers)

    def add(self, now: float, status: Status) -> None:
        """Keep one more answer."""
        self._answers.append((now, status))
        if len(self) == 2:
            self.output_rates.append(sum(self.rates(lambda s: _by_id(s["models"], _output_tokens)).values()))

    @property
    def status(self) -> Status:
        return self._answers[-1][1]

    def rates(self, counts: Callable[[Status], Mapping[str, int]]) -> dict[str, float]:
        """Growth a second of each count; one that fell was begun anew (a restarted engine counts from zero)."""
        (then, before), (now, after) = self._answers[0], self._answers[-1]
        seconds, old = max(now - then, 1e-9), counts(before)
        return {name: max(count - old.get(name, count), 0) / seconds for name, count in counts(after).items()}


def _by_id(models: Sequence[Status], read: Callable[[Status], int]) -> dict[str, int]:
    return {model["id"]: read(model["stats"]) for model in models}


def _by_key(status: Status, field: str) -> dict[str, int]:
    return {key["name"]: key["usage"][field] for key in status["keys"]}


def _output_tokens(stats: Status) -> int:
    return stats["output_tokens"]


def frame(history: History, width: int) -> RenderableType:
    """Everything, for a terminal of this width."""
    parts: list[RenderableType] = [_title(history, width), Text()]
    if history.status["models"]:
        parts.append(_table(_MODEL_COLUMNS, _models(history), width))
    else:
        parts.append(Text("no model is loaded; `aphrodite load MODEL` loads one", "dim"))
    if history.status["keys"]:
        parts += [Text(), _table(_KEY_COLUMNS, _keys(history), width)]
    return Group(*parts)


def _title(history: History, width: int) -> Text:
    status = history.status
    title = Text(f"Aphrodite {status['version']}", "bold", no_wrap=True, overflow="ellipsis")
    title.append(f"  {history.url}  up {_age(time.time() - status['started'])}", "not bold")
    if status["draining"]:
        title.append("  shutting down", "bold red")
    title.append(
        f"\n{status['in_flight']} in flight, {terminal.size(status['resident_bytes'])} in the service process",
        "not bold",
    )
    rates = list(history.output_rates)
    title.append(f"\n{rates[-1] if rates else 0:,.0f} tokens/s ", "bold green")
    title.append(_sparkline(rates[-max(width - 24, 8) :]), "green")
    return title


def _sparkline(values: Sequence[float]) -> str:
    top = max(values, default=0.0) or 1.0
    return "".join(_BARS[min(int(value / top * len(_BARS)), len(_BARS) - 1)] for value in values)


def _age(seconds: float) -> str:
    minutes, hours = int(seconds // 60), int(seconds // 3600)
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min" if minutes else f"{int(seconds)} s"


@dataclass(frozen=True)
class _Column:
    """Shown where the terminal has at least this width."""

    name: str
    from_width: int = 0
    is_text: bool = False


_MODEL_COLUMNS = (
    _Column("model", is_text=True), _Column("state", 50, True), _Column("run"), _Column("wait"), _Column("out tok/s"),
    _Column("in tok/s", 80), _Column("KV"), _Column("prefix hits", 80), _Column("preempted", 100),
    _Column("memory", 60), _Column("restarts", 90),
)  # fmt: skip
_KEY_COLUMNS = (
    _Column("key", is_text=True), _Column("in flight"), _Column("req/s"), _Column("out tok/s"),
    _Column("in tok/s", 80), _Column("requests", 60), _Column("tokens", 60),
)  # fmt: skip


def _table(columns: Sequence[_Column], rows: Sequence[Sequence[str | Text]], width: int) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    shown = [place for place, column in enumerate(columns) if column.from_width <= width]
    for column in (columns[place] for place in shown):
        side = "left" if column.is_text else "right"
        table.add_column(column.name, justify=side, no_wrap=True, overflow="ellipsis", min_width=4)
    for row in rows:
        table.add_row(*(row[place] for place in shown))
    return table


def _models(history: History) -> list[list[str | Text]]:
    output = history.rates(lambda s: _by_id(s["models"], _output_tokens))
    prompt = history.rates(lambda s: _by_id(s["models"], lambda stats: stats["prompt_tokens"]))
    return [_model(m, output[m["id"]], prompt[m["id"]]) for m in history.status["models"]]


def _model(model: Status, output: float, prompt: float) -> list[str | Text]:
    stats = model["stats"]
    return [
        Text(model["id"], "bold"),
        Text(model["state"], _STATE_STYLES.get(model["state"], "red")),
        str(stats["running"]),
        Text(str(stats["waiting"]), "red" if stats["waiting"] else ""),
        f"{output:,.0f}",
        f"{prompt:,.0f}",
        _percent(stats["kv_blocks_used"], stats["kv_blocks"]),
        _percent(stats["cached_tokens"], stats["prompt_tokens"]),
        str(stats["preemptions"]),
        terminal.size(stats["resident_bytes"]),
        Text(str(model["restarts"]), "red" if model["restarts"] else ""),
    ]


def _keys(history: History) -> list[list[str | Text]]:
    output, prompt, requests = (
        history.rates(lambda s, field=field: _by_key(s, field))
        for field in ("output_tokens", "prompt_tokens", "requests")
    )
    busiest = sorted(history.status["keys"], key=lambda key: (-output[key["name"]], -key["in_flight"], key["name"]))
    return [
        [
            Text(key["name"], "bold"), str(key["in_flight"]), f"{requests[key['name']]:,.1f}",
            f"{output[key['name']]:,.0f}", f"{prompt[key['name']]:,.0f}", f"{key['usage']['requests']:,}",
            f"{key['usage']['prompt_tokens'] + key['usage']['output_tokens']:,}",
        ]
        for key in busiest
    ]  # fmt: skip


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "-"
