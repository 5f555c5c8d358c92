"""The log: a JSON object a line, whose lines tell what happened and not what was said."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest

from aphrodite.service.settings import ServiceSettings
from tests.service.running import DEMO, Running, running, wait_for

SECRET = [{"role": "user", "content": "The password of the vault is kumquat-77. What is 39 + 48?"}]


def lines(service: Running) -> list[dict[str, Any]]:
    return [json.loads(line) for line in service.log.splitlines()]


def line_of(service: Running, request_id: str) -> dict[str, Any]:
    """The request's line; it is written after the answer's last byte."""
    found = wait_for(lambda: [line for line in lines(service) if line.get("request_id") == request_id], 5)
    assert len(found) == 1
    return found[0]


def ask(client: httpx2.Client, request_id: str, **fields: object) -> httpx2.Response:
    body = {"model": "demo", "messages": SECRET, "max_tokens": 8, **fields}
    return client.post("/v1/chat/completions", json=body, headers={"x-request-id": request_id})


def test_a_request_is_one_line_with_its_id(service: Running, http: httpx2.Client) -> None:
    assert ask(http, "logs-1").headers["x-request-id"] == "logs-1"
    line = line_of(service, "logs-1")
    assert line["message"] == "POST /v1/chat/completions 200"
    assert (line["level"], line["logger"], line["status"], line["key"]) == ("info", "aphrodite.http", 200, "local")
    assert line["ms"] > 0
    assert line["time"].endswith("Z") and "T" in line["time"]


def test_a_caller_who_leaves_is_said_to_be_gone(service: Running) -> None:
    endless = {"model": "demo", "messages": SECRET, "ignore_eos": True, "max_tokens": 1900}
    with service.client() as client, pytest.raises(httpx2.ReadTimeout):
        client.post("/v1/chat/completions", json=endless, headers={"x-request-id": "logs-gone"}, timeout=0.5)
    line = line_of(service, "logs-gone")
    assert line["message"] == "POST /v1/chat/completions gone" and line["status"] == 0


def test_what_was_asked_and_answered_is_not_in_the_log(service: Running, http: httpx2.Client) -> None:
    ask(http, "logs-secret")
    ask(http, "logs-refused", temperature=9)
    ask(http, "logs-misshapen", messages=[{"role": "kumquat-77", "content": 5}])
    line_of(service, "logs-misshapen")
    assert "kumquat" not in service.log


def test_health_and_metrics_are_quiet(service: Running, http: httpx2.Client) -> None:
    http.get("/health")
    http.get("/metrics")
    ask(http, "logs-after")
    line_of(service, "logs-after")
    messages = [line["message"] for line in lines(service)]
    assert not any(" /health " in message or " /metrics " in message for message in messages)


def test_the_http_server_writes_in_the_same_format(service: Running) -> None:
    assert {line["logger"].split(".")[0] for line in lines(service)} >= {"aphrodite", "uvicorn"}


@pytest.mark.slow
def test_prompts_and_answers_are_logged_where_that_was_asked_for() -> None:
    with running(ServiceSettings(models=(DEMO,), log_prompts=True)) as service, service.client() as http:
        answer = ask(http, "logs-prompts", temperature=0).json()["choices"][0]["message"]["content"]
        wait_for(lambda: "POST /v1/chat/completions 200" in service.log, 5)
        prompt, told = (line for line in lines(service) if line["logger"] == "aphrodite.prompts")
        assert prompt["prompt"] == SECRET and prompt["request_id"] == "logs-prompts"
        assert told["answer"] == answer and told["model"] == "demo" and told["key"] == "local"


@pytest.mark.slow
def test_an_engine_that_dies_and_comes_back_is_in_the_log_and_not_in_a_request_s_name() -> None:
    with running() as service, service.client(headers=service.admin) as admin:
        load = {"model": "demo", "names": ["second"], "engine": DEMO.engine}
        admin.post("/admin/load", json=load, headers={"x-request-id": "logs-load"})
        os.kill(service.engine_pid("second"), signal.SIGKILL)
        errors = wait_for(lambda: [line for line in lines(service) if line["level"] == "error"], 10)
        assert "second" in errors[0]["message"]
        assert "request_id" not in errors[0]


# ---- the format and the file, in a process of their own


def written(tmp_path: Path, program: str) -> list[str]:
    """What a program that imports logging and logs has written to its log file."""
    file = tmp_path / "service.log"
    with open(file, "wb") as log:
        prelude = "import logging, os, sys, warnings\nfrom aphrodite.service.telemetry import logs\n"
        subprocess.run([sys.executable, "-c", prelude + program], stdout=log, stderr=log, check=True, timeout=60)
    return file.read_text().splitlines()


def test_an_engine_s_lines_name_its_model(tmp_path: Path) -> None:
    program = "logs.configure_engine('qwen')\nlogging.getLogger('aphrodite.worker').error('request %d failed', 7)"
    (line,) = written(tmp_path, program)
    assert json.loads(line) | {"time": ""} == {
        "time": "", "level": "error", "logger": "aphrodite.worker", "message": "request 7 failed", "model": "qwen",
    }  # fmt: skip


def test_no_text_breaks_the_format(tmp_path: Path) -> None:
    program = r"""
logs.configure()
for text in ("a\nb\r\x1b[2J\x7f\x9b\u2028\u202e", "half a pair: \ud83d", "x" * 10**6):
    logging.warning(text, extra={"fields": {"what": text[:40]}})
try:
    1 / 0
except ZeroDivisionError:
    logging.exception("failed")
warnings.warn("old")
"""
    found = written(tmp_path, program)
    assert len(found) == 5
    assert all(character.isprintable() for line in found for character in line)
    parsed = [json.loads(line) for line in found]
    assert parsed[0]["message"] == "a\nb\r\x1b[2J\x7f\x9b\u2028\u202e"
    assert parsed[1]["message"] == "half a pair: \ud83d"
    assert len(parsed[2]["message"]) < 20_000
    assert "ZeroDivisionError" in parsed[3]["exception"]
    assert parsed[4]["logger"] == "py.warnings"


def test_the_log_is_bounded_and_others_go_on_writing_to_it(tmp_path: Path) -> None:
    program = """
logs.configure(max_bytes=20_000)
for number in range(2_000):
    logging.info("line %d", number)
    if number % 100 == 0:
        os.write(2, b"the interpreter says %d\\n" % number)
print("the end", file=sys.stderr)
"""
    found = written(tmp_path, program)
    older = tmp_path / "service.log.1"
    assert found[-1] == "the end" and "line 1999" in found[-2]
    assert (tmp_path / "service.log").stat().st_size <= 20_200
    assert older.stat().st_size <= 20_200 and older.stat().st_mode & 0o777 == 0o600
    joined = older.read_text().splitlines() + found
    numbers = [json.loads(line)["message"] for line in joined if line.startswith("{")]
    assert numbers == [f"line {n}" for n in range(2_000 - len(numbers), 2_000)]  # none lost at the seam, none twice
    assert "\0" not in "".join(joined)


def test_lines_that_are_written_together_keep_their_place_and_are_not_lost_at_the_end(tmp_path: Path) -> None:
    program = """
import asyncio
logs.configure()
async def main():
    log = logs.current()
    log.put(b'{"message": "first"}')
    log.put(b'{"message": "second"}')
    logging.warning("third")
    log.put(b'{"message": "fourth"}')
    await asyncio.sleep(0.2)
    os.write(2, b'{"message": "fifth"}\\n')
    log.put(b'{"message": "sixth"}')
asyncio.run(main())
"""
    found = [json.loads(line)["message"] for line in written(tmp_path, program)]
    assert found == ["first", "second", "third", "fourth", "fifth", "sixth"]


def test_a_full_disk_costs_the_older_log_and_not_the_service(tmp_path: Path) -> None:
    (tmp_path / "service.log.1").mkdir()  # whoever copies onto it fails
    program = "logs.configure(max_bytes=5_000)\nfor n in range(500): logging.info('line %d', n)"
    found = written(tmp_path, program)
    assert "line 499" in found[-1]
    assert (tmp_path / "service.log").stat().st_size <= 5_200


def test_settings_for_prompts_are_off_unless_asked() -> None:
    assert msgspec.json.decode(b"{}", type=ServiceSettings).log_prompts is False
