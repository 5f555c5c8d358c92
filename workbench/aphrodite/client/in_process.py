"""What only a model in this process can be asked: a service has no route for it, and says so here."""

from __future__ import annotations

from typing import Any, NoReturn

from aphrodite.client.errors import ClientError


class InProcessOnly(ClientError):
    """Hidden states and steering do not cross HTTP."""


def _refused(name: str) -> NoReturn:
    raise InProcessOnly(
        f"{name} works on a model in this process, not over HTTP: "
        f'`with aphrodite.connect("demo") as session: session.{name}(...)`, or a folder or a Hugging Face id'
    )


class InProcess:
    """The methods of Hooks (aphrodite_engine.inside.hooks), for clients."""

    def capture(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raises InProcessOnly."""
        _refused("capture")

    def lens(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raises InProcessOnly."""
        _refused("lens")

    def steer(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raises InProcessOnly."""
        _refused("steer")
