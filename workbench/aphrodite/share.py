"""What a teammate needs to use the service: where it is, and what to paste where."""

from __future__ import annotations

import socket
from collections.abc import Mapping

from aphrodite.service.access.hosts import is_loopback
from aphrodite.service.runtime import Connection

_ANY_ADDRESS = ("0.0.0.0", "::", "")

#: title -> what to paste
_SNIPPETS = {
    "In a shell": """\
export APHRODITE_API_KEY={key}
curl {url}/v1/chat/completions \\
  -H "Authorization: Bearer $APHRODITE_API_KEY" \\
  -H "Content-Type: application/json" \\
  -d '{{"model": "{model}", "messages": [{{"role": "user", "content": "Hi!"}}]}}'
""",
    "Python, with OpenAI's client": """\
import os
from openai import OpenAI
client = OpenAI(base_url="{url}/v1",
                api_key=os.environ["APHRODITE_API_KEY"])
answer = client.chat.completions.create(
    model="{model}", messages=[{{"role": "user", "content": "Hi!"}}])
print(answer.choices[0].message.content)
""",
    "Node, with OpenAI's client": """\
import OpenAI from "openai";
const client = new OpenAI({{ baseURL: "{url}/v1",
                            apiKey: process.env.APHRODITE_API_KEY }});
const answer = await client.chat.completions.create({{
  model: "{model}", messages: [{{ role: "user", content: "Hi!" }}] }});
console.log(answer.choices[0].message.content);
""",
    "A notebook, with APHRODITE_API_KEY set where Jupyter starts": """\
%load_ext aphrodite
%aphrodite connect {url}
""",
}


def snippets(key: str, url: str, model: str) -> Mapping[str, str]:
    """What works as it is pasted, by where it belongs."""
    return {title: text.format(key=key, url=url, model=model) for title, text in _SNIPPETS.items()}


def address(connection: Connection) -> str:
    """Where teammates find the service."""
    if connection.host not in _ANY_ADDRESS:
        return connection.url
    scheme = connection.url.partition("://")[0]
    return f"{scheme}://{socket.gethostname()}:{connection.port}"


def tunnel(connection: Connection) -> str | None:
    """The command that reaches a service which answers its own machine only; None where it answers others too."""
    if not is_loopback(connection.host):
        return None
    return f"ssh -N -L {connection.port}:127.0.0.1:{connection.port} {socket.gethostname()}"


def opening(flag: str = "") -> list[str]:
    """The commands that open such a service to the network; `flag` names its port where that is needed."""
    return [f"aphrodite down{flag}", f"aphrodite up{flag} --host 0.0.0.0 --tls-cert cert.pem --tls-key key.pem"]
