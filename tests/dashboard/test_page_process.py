"""The playground's process: started by the first visitor, replaced when it dies, never left behind."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from aphrodite.service.pages.process import PageProcess, State
from tests.dashboard.conftest import arrive
from tests.service.processes import alive, children, kill
from tests.service.running import Running, running, wait_for


def page_processes(service: Running) -> list[int]:
    """Of this service."""
    return [pid for pid in children(service.process.pid) if _is_page(pid)]


def _is_page(pid: int) -> bool:
    try:
        return "aphrodite_apps.dashboard" in psutil.Process(pid).cmdline()
    except psutil.Error:  # it has ended in between
        return False


@pytest.mark.slow
def test_before_the_first_visit_nothing_is_there_and_afterwards_everything_goes() -> None:
    with running() as service:
        assert page_processes(service) == []
        assert children(service.process.pid) == [service.engine_pid()]
        loaded = Path(f"/proc/{service.process.pid}/maps").read_text()
        assert "orjson" not in loaded and "pydantic" not in loaded  # what Gradio would have brought

        assert arrive(service).status_code == 200
        [page] = page_processes(service)
        for name in ("cmdline", "environ"):
            assert service.connection.admin_key not in Path(f"/proc/{page}/{name}").read_text()
        [socket] = service.home.rglob("page-*.sock")
        assert (socket.stat().st_mode & 0o777, socket.parent.stat().st_mode & 0o777) == (0o600, 0o700)

        kill(page)
        wait_for(lambda: not page_processes(service), 10)
        assert arrive(service).status_code == 200
        [again] = page_processes(service)
        assert again != page

        assert service.terminate() == 0
        assert not alive(again)
        assert not list(service.home.rglob("*.sock"))


@pytest.mark.slow
def test_a_service_that_is_killed_takes_its_page_with_it() -> None:
    with running() as service:
        arrive(service)
        [page] = page_processes(service)
        kill(service.process.pid)
        wait_for(lambda: not alive(page), 10)


@pytest.mark.parametrize("command", [(sys.executable, "-c", "raise SystemExit(3)"), ("/no/such/program",)])
def test_a_process_that_cannot_start_is_told_once_and_tried_again(command: tuple[str, ...]) -> None:
    async def visits() -> list[State]:
        with tempfile.TemporaryDirectory(prefix="aph-") as folder:  # short: Unix sockets have short paths
            process = PageProcess(Path(folder), (), command)
            seen = []
            for _ in range(2):
                seen.append(process.visit())
                while process.state is State.STARTING:
                    await asyncio.sleep(0.01)
                seen.append(process.visit())
            await process.close()
            assert not list(Path(folder).iterdir())
            return seen

    assert asyncio.run(visits()) == [State.STARTING, State.FAILED] * 2


def test_a_process_that_is_starting_is_ended_with_the_service() -> None:
    async def end() -> None:
        with tempfile.TemporaryDirectory(prefix="aph-") as folder:
            process = PageProcess(Path(folder), (), (sys.executable, "-c", "import time; time.sleep(60)"))
            process.visit()
            while process.pid is None:
                await asyncio.sleep(0.01)
            pid = process.pid
            await process.close()
            assert not alive(pid)
            assert process.visit() is State.ABSENT

    asyncio.run(end())
