"""The service outlives kernels: they are restarted, killed, several at once, and it goes on."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from aphrodite.service import runtime
from tests.magics.kernels import Kernel, kernel_in
from tests.service.running import free_port, wait_for

_ENGINE = "%aphrodite status"


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """Folders and a port of this file's own; a service that was left there is ended."""
    with tempfile.TemporaryDirectory(prefix="aph-") as folder, pytest.MonkeyPatch.context() as patch:
        for name in ("run", "data", "config"):
            patch.setenv(f"APHRODITE_{name.upper().replace('RUN', 'RUNTIME')}_DIR", f"{folder}/{name}")
        patch.setenv("APHRODITE_PORT", str(free_port()))
        yield Path(folder)
        for port in runtime.running_ports():
            connection = runtime.read_connection(port)
            if connection is not None:
                os.kill(connection.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def cell(home: Path) -> Iterator[Kernel]:
    """A kernel that started the service."""
    with kernel_in(home) as found:
        started = found("%aphrodite up --max-model-len 512", 120)
        assert "started. It outlives this kernel" in started.stdout, started
        yield found


def engine_pid(cell: Kernel) -> int:
    shown = cell("status = %aphrodite status\nstatus.facts['models'][0]['pid']")
    return int(shown.text)


def test_a_restarted_kernel_finds_the_same_model_loaded(cell: Kernel) -> None:
    before = engine_pid(cell)
    text = cell('answer = %aphrodite generate "Once upon a time" -s 7 --max-tokens 20\nanswer.text').text
    cell.restart()
    attached = cell("%aphrodite attach")
    assert attached.stdout.startswith("attached to http://127.0.0.1:") and attached.stdout.endswith(": demo\n")
    assert engine_pid(cell) == before
    assert cell('answer = %aphrodite generate "Once upon a time" -s 7 --max-tokens 20\nanswer.text').text == text


def test_up_again_attaches_and_says_what_is_not_served(cell: Kernel) -> None:
    shown = cell("%aphrodite up\n%aphrodite up /no/such/model")
    assert shown.stdout.count("already running; attached") == 2
    assert "It does not serve /no/such/model yet: %aphrodite load /no/such/model loads it" in shown.stdout


def test_two_kernels_are_answered_at_once(cell: Kernel, home: Path) -> None:
    code = '%aphrodite generate "Once upon a time" -s 7 --max-tokens 60 --ignore-eos -o story'
    with kernel_in(home) as other:
        both = [each.start(code) for each in (cell, other)]
        for each, running in zip((cell, other), both, strict=True):
            assert not each.finish(running).errors
        assert cell("story.result.token_ids").text == other("story.result.token_ids").text


def test_a_killed_kernel_leaves_the_service_alive(cell: Kernel, home: Path) -> None:
    before = engine_pid(cell)
    with kernel_in(home) as doomed:
        doomed.until(doomed.start("%%aphrodite --max-tokens none --ignore-eos\nOnce"), lambda shown: shown.updates)
        doomed.manager.signal_kernel(signal.SIGKILL)
        wait_for(lambda: not doomed.manager.is_alive(), 10)
    assert engine_pid(cell) == before
    wait_for(lambda: cell("s = %aphrodite status\ns.facts['models'][0]['stats']['running']").text == "0", 5)


def test_the_extension_loads_twice_and_again(cell: Kernel) -> None:
    twice = cell("%load_ext aphrodite\n%reload_ext aphrodite\n%load_ext aphrodite")
    assert not twice.errors and "already loaded" in twice.stdout
    completions = cell.complete("%aphrodite sta")
    assert completions == ["status"]
    assert cell("%aphrodite attach").stdout.startswith("attached")


def test_down_ends_it_and_the_next_cell_says_what_starts_it(cell: Kernel, home: Path) -> None:
    assert cell("%aphrodite down").stdout == "the service has ended; its memory is free\n"
    for code in ("%%aphrodite\nx", "%aphrodite status", "%aphrodite generate x", "%aphrodite down"):
        shown = cell(code)
        assert shown.stderr.startswith("UsageError: no service runs on this machine: %aphrodite up starts one"), code
        assert len(shown.stderr.splitlines()) == 1 and not shown.errors
    with kernel_in(home) as other:
        assert other("%aphrodite up --max-model-len 512", 120).stdout.count("started") == 1
        # Another admin key, perhaps another port: a kernel that knew the old one finds the new one by itself.
        assert not cell('%aphrodite generate "Once upon a time" --max-tokens 3').errors
        assert not cell("%aphrodite down").errors
