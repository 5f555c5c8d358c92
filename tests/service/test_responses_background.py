"""`/v1/responses` that go on without their caller."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

import httpx2
import openai
import pytest
from openai.types.responses import Response

from tests.service.running import Running, running, wait_for
from tests.service.test_responses import STORY, SUM
from tests.service.test_responses_streams import events_of, running_now

ENDLESS: dict[str, Any] = {"input": STORY, "extra_body": {"ignore_eos": True}, "max_output_tokens": 1900}


def test_a_background_response_goes_on_without_its_caller(sdk: openai.OpenAI) -> None:
    made = sdk.responses.create(model="demo", input=SUM, temperature=0, background=True)
    assert made.status == "queued" and made.background and made.output == []
    done = wait_for(lambda: ended(sdk, made), 20)
    assert done.status == "completed" and done.output_text == "87" and done.usage is not None


def ended(sdk: openai.OpenAI, made: Response) -> Response | None:
    found = sdk.responses.retrieve(made.id)
    return found if found.status not in ("queued", "in_progress") else None


def test_a_background_response_can_be_cancelled(service: Running, sdk: openai.OpenAI) -> None:
    made = sdk.responses.create(model="demo", background=True, **ENDLESS)
    wait_for(lambda: sdk.responses.retrieve(made.id).status == "in_progress", 10)
    wait_for(lambda: running_now(service) == 1, 5)  # its request was answered, its work goes on
    assert sdk.responses.cancel(made.id).status == "cancelled"
    wait_for(lambda: running_now(service) == 0, 10)
    assert sdk.responses.retrieve(made.id).status == "cancelled"
    assert sdk.responses.cancel(made.id).status == "cancelled", "once more does no harm"
    with pytest.raises(openai.BadRequestError, match="cancelled"):
        sdk.responses.create(model="demo", input="x", previous_response_id=made.id)


def test_only_what_runs_in_the_background_can_be_cancelled(sdk: openai.OpenAI) -> None:
    made = sdk.responses.create(model="demo", input=SUM, max_output_tokens=2)
    with pytest.raises(openai.BadRequestError, match="background"):
        sdk.responses.cancel(made.id)
    behind = sdk.responses.create(model="demo", input=SUM, max_output_tokens=2, background=True)
    wait_for(lambda: ended(sdk, behind), 20)
    with pytest.raises(openai.BadRequestError, match="cannot be cancelled"):
        sdk.responses.cancel(behind.id)


def test_a_background_stream_can_be_left_and_taken_up_again(http: httpx2.Client) -> None:
    asked = {"model": "demo", "input": STORY, "ignore_eos": True, "max_output_tokens": 600, "background": True}
    with http.stream("POST", "/v1/responses", json={**asked, "stream": True}) as stream:
        lines = stream.iter_lines()
        first = json.loads([next(lines), next(lines)][1].removeprefix("data: "))
    path = f"/v1/responses/{first['response']['id']}"
    rest = http.get(path, params={"stream": "true", "starting_after": 2}).text
    numbers = [
        json.loads(line.removeprefix("data: "))["sequence_number"]
        for line in rest.splitlines()
        if line.startswith("data: ")
    ]
    assert numbers == list(range(3, 3 + len(numbers)))
    assert '"status":"incomplete"' in rest.splitlines()[-2]
    wait_for(lambda: http.get(path).json()["status"] == "incomplete", 5)
    assert http.get(path, params={"stream": "true"}).status_code == 400


@pytest.mark.slow
def test_a_killed_service_s_background_response_has_failed(tmp_path: Any) -> None:
    data = {"APHRODITE_DATA_DIR": str(tmp_path / "data")}
    with running(None, **data) as service, client(service) as sdk:
        made = sdk.responses.create(model="demo", background=True, **ENDLESS)
        wait_for(lambda: sdk.responses.retrieve(made.id).status == "in_progress", 10)
        service.process.kill()
        service.process.wait()
    with running(None, **data) as service, client(service) as sdk:
        found = sdk.responses.retrieve(made.id)
        assert found.status == "failed" and found.error is not None and "ended" in found.error.message
        other = sdk.responses.create(model="demo", background=True, **{**ENDLESS, "max_output_tokens": 300})
        assert service.terminate(60) == 0, "a drain lets it end"
        assert "Traceback" not in service.log
    with running(None, **data) as service, client(service) as sdk:
        assert sdk.responses.retrieve(other.id).status in ("incomplete", "failed")


def client(service: Running) -> openai.OpenAI:
    return openai.OpenAI(base_url=service.url + "/v1", api_key="none", max_retries=0)


@pytest.mark.slow
def test_a_killed_engine_fails_the_stream_and_the_background() -> None:
    with running() as service, client(service) as sdk, service.client() as http:
        behind = sdk.responses.create(model="demo", background=True, **ENDLESS)
        asked = {"model": "demo", "input": STORY, "stream": True, "ignore_eos": True, "max_output_tokens": 1900}
        with http.stream("POST", "/v1/responses", json=asked) as stream:
            text = []
            for line in stream.iter_lines():
                text.append(line)
                if len(text) == 60:
                    os.kill(service.engine_pid(), signal.SIGKILL)
        error, failed = events_of("\n".join(text))[-2:]
        assert error["type"] == "error" and error["code"] == "engine_lost"
        assert failed["type"] == "response.failed" and failed["response"]["error"]["code"] == "server_error"
        assert sdk.responses.retrieve(failed["response"]["id"]).status == "failed"
        assert wait_for(lambda: ended(sdk, behind), 10).status == "failed"
