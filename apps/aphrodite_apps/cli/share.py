"""`aphrodite share`: a key for a teammate, with what to paste where."""

from __future__ import annotations

import argparse
import socket
from typing import TYPE_CHECKING

from aphrodite_apps.cli import terminal
from aphrodite_apps.cli.command import Command
from aphrodite_apps.cli.service_client import add_port_flag, port_flag

if TYPE_CHECKING:
    from aphrodite.service.runtime import Connection

EPILOG = """examples:
  aphrodite share --name dana --limit requests-per-minute=60,tokens-per-minute=20000"""

_ANY_ADDRESS = ("0.0.0.0", "::", "")

_SNIPPETS = """\
{shell}
  export APHRODITE_API_KEY={key}
  curl {url}/v1/chat/completions \\
    -H "Authorization: Bearer $APHRODITE_API_KEY" \\
    -H "Content-Type: application/json" \\
    -d '{{"model": "{model}", "messages": [{{"role": "user", "content": "Hi!"}}]}}'

{python}
  import os
  from openai import OpenAI
  client = OpenAI(base_url="{url}/v1",
                  api_key=os.environ["APHRODITE_API_KEY"])
  answer = client.chat.completions.create(
      model="{model}", messages=[{{"role": "user", "content": "Hi!"}}])
  print(answer.choices[0].message.content)

{node}
  import OpenAI from "openai";
  const client = new OpenAI({{ baseURL: "{url}/v1",
                              apiKey: process.env.APHRODITE_API_KEY }});
  const answer = await client.chat.completions.create({{
    model: "{model}", messages: [{{ role: "user", content: "Hi!" }}] }});
  console.log(answer.choices[0].message.content);

{notebook}
  %load_ext aphrodite
  %aphrodite connect {url}
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from aphrodite_apps.cli.limit_flags import add_limit_flags

    parser.add_argument("--name", required=True, metavar="NAME", help="whose key it is; needed (default: none)")
    add_limit_flags(parser)
    add_port_flag(parser)


def run(arguments: argparse.Namespace) -> int:
    from aphrodite.service import runtime
    from aphrodite.service.access.exposure import key_store
    from aphrodite_apps.cli.limit_flags import described, limits

    allowed = limits(arguments)
    connection = runtime.read_connection(arguments.port)
    url, model = _address(connection, arguments.port), _model(connection)
    key = key_store().add(arguments.name, allowed, priority=arguments.priority, is_admin=arguments.admin)
    print(terminal.paint(f"The key of {arguments.name}", "bold") + f" ({described(allowed)}), shown this once:")
    print(f"  {key}\n")
    print(_snippets(key, url, model), end="")
    for line in _hints(connection, arguments):
        print(line)
    return 0


def _snippets(key: str, url: str, model: str) -> str:
    titles = {
        "shell": "In a shell",
        "python": "Python, with OpenAI's client",
        "node": "Node, with OpenAI's client",
        "notebook": "A notebook, with APHRODITE_API_KEY set where Jupyter starts",
    }
    painted = {name: terminal.paint(title, "bold") for name, title in titles.items()}
    return _SNIPPETS.format(key=key, url=url, model=model, **painted)


def _address(connection: Connection | None, port: int) -> str:
    """Where teammates find the service."""
    if connection is None:
        return f"http://127.0.0.1:{port}"
    if connection.host in _ANY_ADDRESS:
        scheme = connection.url.partition("://")[0]
        return f"{scheme}://{socket.gethostname()}:{connection.port}"
    return connection.url


def _model(connection: Connection | None) -> str:
    from aphrodite.service.daemon import ask

    models = ask(connection, "GET", "/admin/status")["models"] if connection else []
    return models[0]["id"] if models else "demo"


def _hints(connection: Connection | None, arguments: argparse.Namespace) -> list[str]:
    from aphrodite.service.access.hosts import is_loopback

    flag, here = port_flag(arguments.port), socket.gethostname()
    if connection is None:
        return ["", f"No service runs on port {arguments.port} yet: `aphrodite up{flag}` starts one."]
    if not is_loopback(connection.host):
        return []
    return [
        "",
        terminal.paint("This service answers this machine only.", "bold") + " From another one, through a tunnel:",
        f"  ssh -N -L {connection.port}:127.0.0.1:{connection.port} {here}",
        "or open it to the network:",
        f"  aphrodite down{flag}",
        f"  aphrodite up{flag} --host 0.0.0.0 --tls-cert cert.pem --tls-key key.pem",
    ]


COMMAND = Command(
    "share", "make a key for a teammate, with what to paste", add_arguments, run, "--name NAME [flags]", EPILOG
)
