"""A new key, shown once, with what a teammate pastes where."""

from __future__ import annotations

import argparse
from html import escape

from aphrodite.magics.notebook import Notebook


class SharedKey:
    """What the teammate needs. The key is in no other place: the service stores a digest of it.

    Attributes:
        snippets: what works as it is pasted, by where it belongs.
        hint: how others reach a service that answers its own machine only.
    """

    def __init__(self, name: str, key: str, limits: str, snippets: dict[str, str], hint: list[str]) -> None:
        self.name, self.key, self.limits, self.snippets, self.hint = name, key, limits, snippets, hint

    def __repr__(self) -> str:
        parts = [f"The key of {self.name} ({self.limits}), shown this once: {self.key}"]
        for title, text in self.snippets.items():
            parts += ["", title, *(f"  {line}" for line in text.splitlines())]
        return "\n".join([*parts, *(["", *self.hint] if self.hint else [])])

    def _repr_html_(self) -> str:
        parts = [
            f"<div>The key of <b>{escape(self.name)}</b> ({escape(self.limits)}), shown this once: "
            f"<code>{escape(self.key)}</code></div>"
        ]
        for title, text in self.snippets.items():
            parts.append(
                f'<details style="margin:.3em 0"><summary>{escape(title)}</summary>'
                f'<pre style="margin:.3em 1em;user-select:all">{escape(text)}</pre></details>'
            )
        if self.hint:
            first, *commands = map(escape, self.hint)
            parts += [f"<div>{first}</div>", *(f"<div><code>{command}</code></div>" for command in commands)]
        return "".join(parts)


def make_key(notebook: Notebook, arguments: argparse.Namespace) -> SharedKey:
    """A key for `arguments.name`, with its limits."""
    from aphrodite import share
    from aphrodite.limit_flags import described, limits

    allowed = limits(arguments)
    with notebook.admin() as client:
        key = client.add_key(arguments.name, limits=allowed, priority=arguments.priority, is_admin=arguments.admin)
        models = client.models()
    connection = notebook.connection
    address = client.url if connection is None else share.address(connection)
    snippets = share.snippets(key, address, models[0].id if models else "demo")
    return SharedKey(arguments.name, key, described(allowed), dict(snippets), _hint(notebook))


def _hint(notebook: Notebook) -> list[str]:
    from aphrodite import share

    tunnel = None if notebook.connection is None else share.tunnel(notebook.connection)
    if tunnel is None:
        return []
    return ["This service answers this machine only. From another one, through a tunnel:", tunnel]
