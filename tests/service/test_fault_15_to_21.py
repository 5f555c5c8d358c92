"""FAULTS 15 to 21: grammars and schemas that are bombs, tools, templates, messages and media that are not what they
should be. Each is refused by name; nothing is fetched; the service answers the next good request."""

from __future__ import annotations

import http.server
import itertools
import json
import re
import statistics
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

from aphrodite_engine.constraints.grammar import MAX_CACHED, MAX_CACHED_BYTES, Grammars
from aphrodite_engine.errors import ParameterError
from aphrodite_engine.loading.hub import resolve_model
from aphrodite_engine.tokenizer import Tokenizer
from tests.service.leaks import LEAK
from tests.service.running import Running

CHAT = "/v1/chat/completions"
HELLO: list[dict[str, Any]] = [{"role": "user", "content": "What is 39 + 48?"}]
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}


@pytest.fixture(autouse=True)
def _answers_the_next_request(http: httpx2.Client) -> Iterator[None]:
    yield
    answer = ask(http, temperature=0)
    assert answer.status_code == 200 and answer.json()["choices"][0]["message"]["content"] == "87"


@pytest.fixture(scope="module", autouse=True)
def _nothing_leaks_into_the_log(service: Running) -> Iterator[None]:
    yield
    assert "Traceback" not in service.log and "root:" not in service.log


@pytest.fixture
def canary() -> Iterator[tuple[str, list[str]]]:
    """The address of a server that nobody may call, and the paths that were asked for."""
    hits: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            hits.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"type": "string"}')

        def log_message(self, format: str, *args: Any) -> None:
            """Keep quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.server_port}", hits
    server.shutdown()
    server.server_close()
    thread.join()


def ask(client: httpx2.Client, **fields: Any) -> httpx2.Response:
    return client.post(CHAT, json={"model": "demo", "messages": HELLO, "max_tokens": 8} | fields)


def refused(answer: httpx2.Response, param: str) -> str:
    """The message, once it is a 400 that names its field and shows nothing of ours."""
    assert answer.status_code == 400, answer.text[:300]
    error = answer.json()["error"]
    assert sorted(error) == ["code", "message", "param", "type"] and error["type"] == "invalid_request_error"
    assert not LEAK.search(error["message"]) and len(error["message"]) < 600
    assert error["param"] is not None and error["param"].startswith(param)
    assert re.split(r"[.\[]", param)[0] in error["message"] or "conversation" in error["message"]
    return error["message"]


# ---- 15


@pytest.mark.parametrize("regex", ["(x{1000}){1000}", "x{10000000}", "(" * 3000 + "a" + ")" * 3000, "(a", "(a)\\1"])
def test_fault_15_regexes_that_are_bombs_or_none_are_refused_within_two_seconds(
    http: httpx2.Client, regex: str
) -> None:
    started = time.monotonic()
    refused(ask(http, structured_outputs={"regex": regex}), "structured_outputs.regex")
    assert time.monotonic() - started < 4  # two, and a busy machine's share


def test_fault_15_nested_repetition_is_no_bomb_here(http: httpx2.Client) -> None:
    answer = ask(http, structured_outputs={"regex": "(a+)+$"})
    assert answer.status_code == 200
    assert re.fullmatch("a+", answer.json()["choices"][0]["message"]["content"])


@pytest.mark.slow
def test_fault_15_other_streams_hardly_notice(service: Running) -> None:
    found = []
    for size in (1000, 1010, 1020):  # the best of three, since other programs run here too
        quiet, attacked = _gaps_around(service, [f"(x{{{n}}}){{{n}}}" for n in range(size, size + 4)])
        found.append(f"{quiet:.3f} s, then {attacked:.3f} s")
        if attacked < 2 * quiet + 0.02:
            return
    raise AssertionError(f"p99 between tokens: {found}")


def _gaps_around(service: Running, bombs: list[str]) -> tuple[float, float]:
    """The p99 between tokens of a stream before and while these regexes are asked for."""
    stop, times = threading.Event(), []

    def listen() -> None:
        body = {"model": "demo", "messages": HELLO, "ignore_eos": True, "max_tokens": 1900, "stream": True}
        body["return_token_ids"] = True  # an event for each token, also where it has no text
        with service.client() as client:
            while not stop.is_set():
                with client.stream("POST", CHAT, json=body) as stream:
                    for line in stream.iter_lines():
                        if line:
                            times.append(time.monotonic())
                        if stop.is_set():
                            break

    with ThreadPoolExecutor(1) as pool, service.client() as client:
        listening = pool.submit(listen)
        time.sleep(4)
        began = time.monotonic()
        for bomb in bombs:
            ask(client, structured_outputs={"regex": bomb})
        ended = time.monotonic()
        stop.set()
        listening.result(60)
    return _p99([t for t in times if t < began]), _p99([t for t in times if began <= t < ended])


def _p99(times: list[float]) -> float:
    gaps = [b - a for a, b in itertools.pairwise(times)]
    return statistics.quantiles(gaps, n=100)[98]


# ---- 16


def _all_of_bomb(depth: int) -> dict[str, Any]:
    definitions: dict[str, Any] = {"d0": {"type": "object", "properties": {"a": {"type": "string"}}}}
    for i in range(1, depth):
        choice = [{"$ref": f"#/$defs/d{i - 1}"}, {"type": "object", "properties": {f"x{i}": {"type": "null"}}}]
        definitions[f"d{i}"] = {"allOf": [{"anyOf": choice} for _ in range(8)]}
    return {"$defs": definitions, "$ref": f"#/$defs/d{depth - 1}"}


def _deep(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "integer"}
    for _ in range(levels):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


SCHEMAS: dict[str, dict[str, Any]] = {
    "endless recursion": {"$ref": "#"},
    "mutual recursion": {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
    "missing reference": {"$ref": "#/$defs/nowhere"},
    "a file": {"$ref": "file:///etc/passwd"},
    "ten thousand values": {"enum": [f"value {place}" for place in range(10_000)]},
    "allOf bomb": _all_of_bomb(6),
    "deep": _deep(200),
    "slow arithmetic": {"type": "integer", "multipleOf": 99_999_959},
    "unknown type": {"type": "integr"},
    "unsupported word": {"not": {"type": "string"}},
    "leniency": {"not": {"type": "string"}, "x-guidance": {"lenient": True}},
    "impossible": {"type": "integer", "minimum": 3, "maximum": 2},
}


@pytest.mark.parametrize("kind", SCHEMAS)
def test_fault_16_schemas_that_are_bombs_or_none_are_refused(http: httpx2.Client, kind: str) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMAS[kind]}}
    refused(ask(http, response_format=form), "response_format")
    refused(ask(http, structured_outputs={"json": SCHEMAS[kind]}), "structured_outputs.json")


def test_fault_16_nothing_is_fetched(http: httpx2.Client, canary: tuple[str, list[str]]) -> None:
    host, hits = canary
    for schema in ({"$ref": f"http://{host}/a.json"}, {"$id": f"http://{host}/", "$ref": "b.json"}):
        ask(http, structured_outputs={"json": schema})
        ask(http, response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": schema}})
        tool = {"name": "t", "parameters": {"type": "object", "properties": {"a": schema}}}
        ask(http, tools=[{"type": "function", "function": tool}], tool_choice="required")
        ask(http, structured_outputs={"grammar": f"start: x\nx: %json {json.dumps(schema)}"})
    ask(
        http,
        response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": {"$schema": f"http://{host}/"}}},
    )
    assert hits == []


def test_fault_16_a_schema_that_repeats_itself_is_fine(http: httpx2.Client) -> None:
    tree = {"type": "object", "properties": {"left": {"$ref": "#"}}, "additionalProperties": False}
    answer = ask(http, structured_outputs={"json": tree}, max_tokens=60)
    assert answer.status_code == 200


# ---- 17


def test_fault_17_many_schemas_leave_nothing_behind(service: Running, http: httpx2.Client) -> None:
    def size() -> int:
        with service.client(headers=service.admin) as client:
            return client.get("/admin/status").json()["models"][0]["stats"]["resident_bytes"]

    def many(first: int) -> None:
        for place in range(first, first + MAX_CACHED + 12):
            answer = ask(http, structured_outputs={"json": {"const": f"value {place}"}}, max_tokens=1)
            assert answer.status_code == 200

    many(0)  # the cache is full
    before, files = size(), _files(service)
    many(1000)
    time.sleep(1)  # figures come with the next ping
    assert size() - before < 64 * 2**20
    assert _files(service) == files


def _files(service: Running) -> set[Path]:
    return {file for file in service.home.rglob("*") if file.is_file() and file.suffix not in (".sqlite-wal", ".log")}


@pytest.mark.slow
def test_fault_17_of_ten_thousand_schemas_few_are_kept() -> None:
    grammars = Grammars(Tokenizer(resolve_model("demo", None, None, None)), 4096, (1,))
    try:
        for place in range(10_000):
            grammars.compiled({"json": {"const": place}})
        count, size = grammars.kept
        assert count <= MAX_CACHED and size <= MAX_CACHED_BYTES
        with pytest.raises(ParameterError):
            grammars.compiled({"json": {"type": "integr"}})
        assert grammars.kept[0] == count
    finally:
        grammars.close()


# ---- 18


@pytest.mark.parametrize(
    "parameters",
    [
        {"type": "array"},
        {"type": "object", "properties": []},
        {"type": "object", "properties": {"a": 3}},
        {"type": "object", "properties": {"a": {"type": "text"}}},
        {"type": "object", "properties": {"a": {"anyOf": {}}}},
        {"type": "object", "required": "a"},
        {"type": "object", "properties": {"a": {"$ref": "file:///etc/passwd"}}},
        {"type": "object", "properties": {"a": _deep(100)}},
        {"type": "object", "properties": {f"p{place}": {} for place in range(30_000)}},
    ],
    ids=lambda parameters: str(parameters)[:50],
)
@pytest.mark.parametrize("choice", ["auto", "required"])
def test_fault_18_tools_with_a_wrong_schema_are_refused(
    http: httpx2.Client, parameters: dict[str, Any], choice: str
) -> None:
    tool = {"type": "function", "function": {"name": "look", "parameters": parameters}}
    refused(ask(http, tools=[tool], tool_choice=choice), "tools")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "leap"}}}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": "sometimes"}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": {"type": "function"}}, "tool_choice"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [], "tool_choice": {"type": "function", "function": {"name": "look"}}}, "tool_choice"),
        ({"tools": [TOOL, TOOL]}, "tools"),
        ({"tools": [{"type": "function", "function": {"name": ""}}]}, "tools"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools"),
        ({"tools": [{"type": "retrieval"}]}, "tools"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"tools": {"name": "look"}}, "tools"),
        ({"tools": [TOOL] * 129}, "tools"),
        ({"functions": [{"name": "look"}]}, "functions"),
        ({"function_call": "auto"}, "function_call"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_fault_18_tools_and_choices_that_do_not_fit_are_refused(
    http: httpx2.Client, fields: dict[str, Any], param: str
) -> None:
    refused(ask(http, **fields), param)


# ---- 19


@pytest.mark.parametrize(
    "template",
    ["{{ messages }}", "{% for i in range(10**9) %}{% endfor %}", "{{ ''.__class__.__mro__ }}", "{% include 'x' %}", 3],
)
def test_fault_19_a_template_of_the_request_s_own_is_refused_at_once(http: httpx2.Client, template: Any) -> None:
    started = time.monotonic()
    refused(ask(http, chat_template=template), "chat_template")
    assert time.monotonic() - started < 2


@pytest.mark.parametrize(
    "name",
    ["tokenize", "messages", "__class__", "_x", "chat_template", "conversation", "prompt", "sampling_params", "tools",
     "bos_token", "eos_token", "a b", "a" * 100, ""],
)  # fmt: skip
def test_fault_19_names_that_are_the_engine_s_own_are_refused(http: httpx2.Client, name: str) -> None:
    answer = ask(http, chat_template_kwargs={name: [TOOL]})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] in ("chat_template_kwargs", "tools", "messages")
    assert not LEAK.search(answer.text)


def test_fault_19_a_wrong_type_of_arguments_is_refused(http: httpx2.Client) -> None:
    refused(ask(http, chat_template_kwargs=["tokenize"]), "chat_template_kwargs")


# ---- 20


@pytest.mark.parametrize(
    "messages",
    [
        None,
        [],
        {},
        "hello",
        [None],
        ["hello"],
        [{}],
        [{"role": "user"}],
        [{"role": "user", "content": None}],
        [{"role": "user", "content": 3}],
        [{"role": "user", "content": {}}],
        [{"role": "user", "content": []}],
        [{"role": "user", "content": [None]}],
        [{"role": "user", "content": ["hello"]}],
        [{"role": "user", "content": [{"type": "text"}]}],
        [{"role": "user", "content": [{"type": "text", "text": None}]}],
        [{"role": "user", "content": [{"text": "hello"}]}],
        [{"role": "user", "content": [{"type": "refusal", "refusal": "no"}]}],
        [{"role": None, "content": "hello"}],
        [{"role": "root", "content": "hello"}],
        [{"role": "function", "name": "a", "content": "hello"}],
        [{"role": ["user"], "content": "hello"}],
        [{"role": "tool", "content": None}],
        [{"role": "tool", "content": "1", "tool_call_id": 3}],
        [{"role": "user", "content": "hello", "name": {}}],
        [{"role": "assistant"}],
        [{"role": "assistant", "tool_calls": []}],
        [{"role": "assistant", "tool_calls": {}}],
        [{"role": "assistant", "tool_calls": [None]}],
        [{"role": "assistant", "tool_calls": [{"id": "a"}]}],
        [{"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "b"}}]}],
        [{"role": "assistant", "tool_calls": [{"id": 1, "function": {"name": "b", "arguments": "{}"}}]}],
        [{"role": "assistant", "content": "a", "function_call": {"name": "b"}}],
        [{"role": "assistant", "content": "a", "audio": {"id": "b"}}],
        [{"role": "user", "content": "a"}, {"role": "system", "content": "too late for this template"}],
        [{"role": "user", "content": "a"}] * 5000,
    ],
    ids=lambda messages: str(messages)[:70],
)
def test_fault_20_messages_that_are_none_are_refused(http: httpx2.Client, messages: Any) -> None:
    refused(ask(http, messages=messages), "messages")


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "developer", "content": "Be brief."}, *HELLO],
        [{"role": "system", "content": [{"type": "text", "text": "Be "}, {"type": "text", "text": "brief."}]}, *HELLO],
        [*HELLO, {"role": "assistant", "content": None, "refusal": "No."}, *HELLO],
        [*HELLO, {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}, *HELLO],
        [*HELLO, {"role": "assistant", "content": "", "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "look", "arguments": '{"cut'}}]},
         {"role": "tool", "tool_call_id": "a", "content": "x"}],
        [{"role": "user", "content": "", "name": "Ann", "unheard": 1}],
    ],
    ids=lambda messages: str(messages)[:70],
)  # fmt: skip
def test_fault_20_unusual_messages_are_answered(http: httpx2.Client, messages: Any) -> None:
    assert ask(http, messages=messages).status_code == 200


# ---- 21


URLS = [
    "file:///etc/passwd",
    "http://169.254.169.254/latest/meta-data",
    "http://{host}/image.png",
    "http://[::ffff:127.0.0.1]:{port}/image.png",
    "http://ok.example\\@{host}/image.png",
    "http://{host}/redirect",
    "ftp://{host}/a",
    "data:image/png;base64,iVBORw0KGgo=",
    "data:image/svg+xml,<svg/>",
    "//{host}/a",
    "",
]
PARTS: list[dict[str, Any]] = [
    {"type": "image_url", "image_url": {"url": "URL"}},
    {"type": "image_url", "image_url": "URL"},
    {"type": "input_image", "image_url": "URL"},
    {"type": "video_url", "video_url": {"url": "URL"}},
    {"type": "audio_url", "audio_url": {"url": "URL"}},
    {"type": "input_audio", "input_audio": {"data": "URL", "format": "wav"}},
    {"type": "file", "file": {"file_data": "URL", "filename": "../../x"}},
    {"type": "file", "file": {"file_id": "URL"}},
]


@pytest.mark.parametrize("role", ["user", "system", "assistant", "tool"])
def test_fault_21_media_are_refused_and_nothing_is_fetched(
    http: httpx2.Client, canary: tuple[str, list[str]], role: str
) -> None:
    host, hits = canary
    for url in URLS:
        shown = json.dumps(url.format(host=host, port=host.partition(":")[2]))[1:-1]
        for part in PARTS:
            content = [{"type": "text", "text": "What is it?"}, json.loads(json.dumps(part).replace("URL", shown))]
            message = refused(ask(http, messages=[{"role": role, "content": content}]), "messages[0].content[1]")
            assert "passwd" not in message
    time.sleep(0.2)
    assert hits == []
