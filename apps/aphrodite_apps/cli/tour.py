"""`aphrodite tour`: the first minute, over the endpoint that every client uses; `make run` ends here."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import aphrodite
from aphrodite.service import daemon
from aphrodite.service.runtime import Connection, ServiceError
from aphrodite.service.settings import ServiceSettings
from aphrodite_apps.cli import terminal, up
from aphrodite_apps.cli.command import Command
from aphrodite_apps.cli.loading_line import LoadingLine
from aphrodite_apps.cli.service_client import add_port_flag, default_port, port_flag

# This pair was held back when the bundled model was trained (experiments/demo_model/skills/item.py).
QUESTION, EXPECTED = "What is 39 + 48?", str(39 + 48)
STORY, STORY_SEED = "Tell me a story about a fox named Pip.", 7
_ANSWER_SECONDS = 300.0

Chunk = Mapping[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_port_flag(parser)


def run(arguments: argparse.Namespace) -> int:
    with LoadingLine() as line:
        started = daemon.up(ServiceSettings(port=arguments.port), report=line)
    connection = started.connection
    status = daemon.ask(connection, "GET", "/admin/status")
    up.show(status, connection.url, "started" if started.is_new else "already running; attached")
    guide = Guide(connection, _ready_model(status))
    guide.arithmetic()
    same = guide.story_twice()
    _next(connection, guide.model)
    return 0 if same else 1


def _ready_model(status: Mapping[str, Any]) -> str:
    """The first model that can answer.

    Raises:
        ServiceError: none can.
    """
    names = [model["id"] for model in status["models"] if model["state"] == "ready"]
    if not names:
        raise ServiceError("the service that runs has no model that is ready; `aphrodite load demo` loads one")
    return names[0]


class Guide:
    """Asks over HTTP, as any client would."""

    def __init__(self, connection: Connection, model: str) -> None:
        self._connection = connection
        self.model = model

    def arithmetic(self) -> None:
        """A question with a checkable answer."""
        text, _ = self._ask(QUESTION, temperature=0, max_tokens=64)
        if EXPECTED in text:
            print(terminal.paint(f"  right: it is {EXPECTED}", "green"))
        else:
            print(terminal.paint(f"  wrong: it is {EXPECTED}; a model this small makes mistakes", "red"))

    def story_twice(self) -> bool:
        """The promise of this engine, shown: the same seed gives the same tokens, here computed a second time."""
        params = {"seed": STORY_SEED, "temperature": 0.8, "max_tokens": 200}
        started = time.perf_counter()
        _, first = self._ask(STORY, **params)
        print(
            terminal.paint(f"  seed {STORY_SEED}, {terminal.speed(len(first), time.perf_counter() - started)}", "dim")
        )
        again = [token for chunk in self._chunks(STORY, params) for token in _token_ids(chunk)]
        if first == again:
            print(terminal.paint(f"  asked again with the same seed: all {len(again)} tokens are the same", "green"))
            return True
        equal = next((place for place, (a, b) in enumerate(zip(first, again, strict=False)) if a != b), len(again))
        print(terminal.paint(f"  asked again with the same seed: different from token {equal} on", "red"))
        return False

    def _ask(self, question: str, **params: Any) -> tuple[str, list[int]]:
        """Ask, show the answer while it comes, and return it."""
        print("\n" + terminal.paint("> " + question, "bold", "cyan"))
        text, token_ids = "", []
        for chunk in self._chunks(question, params):
            piece = "".join(choice["delta"].get("content") or "" for choice in chunk["choices"])
            terminal.write(piece)
            text, token_ids = text + piece, token_ids + _token_ids(chunk)
        print()
        return text, token_ids

    def _chunks(self, question: str, params: Mapping[str, Any]) -> Iterator[Chunk]:
        """The stream of one answer: server-sent events, as `curl -N` would show them."""
        body = {"model": self.model, "messages": [{"role": "user", "content": question}], **params}
        body |= {"stream": True, "return_token_ids": True}
        headers = {"content-type": "application/json", "authorization": f"Bearer {self._connection.admin_key}"}
        with closing(daemon.client(self._connection, _ANSWER_SECONDS)) as client:
            client.request("POST", "/v1/chat/completions", json.dumps(body), headers)
            for line in client.getresponse():
                if line.startswith(b"data: {") or line.startswith(b"{"):
                    yield _checked(json.loads(line.removeprefix(b"data: ")))


def _checked(chunk: Chunk) -> Chunk:
    if "error" in chunk:
        raise ServiceError(chunk["error"]["message"])
    return chunk


def _token_ids(chunk: Chunk) -> list[int]:
    return [token for choice in chunk["choices"] for token in choice.get("token_ids") or ()]


def _next(connection: Connection, model: str) -> None:
    """What to open, what to paste, how to end it."""
    url = connection.url
    ours = "aphrodite" if shutil.which("aphrodite") else os.path.relpath(Path(sys.executable).with_name("aphrodite"))
    message = '[{"role": "user", "content": "What is 39 + 48?"}]'
    print("\n" + terminal.paint("It keeps running, for every program on this machine", "bold"))
    print(f"  open      {url}/")
    print(f"  curl      curl -N {url}/v1/chat/completions -H 'content-type: application/json' \\")
    print(f"""              -d '{{"model": "{model}", "messages": {message}, "stream": true}}'""")
    print("  Python    from openai import OpenAI")
    print(f'            client = OpenAI(base_url="{url}/v1", api_key="none")')
    print(f'            client.chat.completions.create(model="{model}", messages={message})')
    if hasattr(aphrodite, "load_ipython_extension"):
        port = "" if connection.port == default_port() else f" {url}"
        print("  notebook  %load_ext aphrodite")
        print(f"            %aphrodite connect{port}")
    flag = port_flag(connection.port)
    print(f"  shell     {ours} status{flag}, {ours} logs -f{flag}, {ours} generate --help")
    print(f"  end it    {ours} down{flag}")


COMMAND = Command("tour", "start the service and see the bundled model answer, twice the same", add_arguments, run)
