"""What one notebook remembers between its cells: which service it talks to, which model, which conversations."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from aphrodite.magics.errors import UsageError
from aphrodite.magics.settings import Settings

if TYPE_CHECKING:  # the client takes a moment to import that only the first request pays
    from aphrodite.client.client import Client
    from aphrodite.display.generation import Generation
    from aphrodite.service.runtime import Connection

Message = Mapping[str, Any]

_HERE = ("127.0.0.1", "localhost", "::1")


class Notebook:
    """State of one kernel.

    Attributes:
        names: the user's variables.
        conversations: messages by the name given with --chat.
        connection: of this user's service on this machine, where that is what it uses.
        last: the generation that sub-commands mean where none is named.
        is_terminal: it is IPython in a terminal, which can only print.
    """

    def __init__(self, shell: Any, settings: Settings) -> None:
        self._shell, self.settings = shell, settings
        self.names: dict[str, Any] = shell.user_ns
        self.is_terminal = type(shell).__name__ == "TerminalInteractiveShell"
        self.conversations: dict[str, list[Message]] = {}
        self.last: Generation | None = None
        self._client: Client | None = None
        self.connection: Connection | None = None
        self._model: str | None = None

    @property
    def cell(self) -> int:
        """The number of the cell that runs."""
        return self._shell.execution_count

    def variables(self) -> list[str]:
        """Names the user has given."""
        hidden = self._shell.user_ns_hidden
        return [name for name in self.names if not name.startswith("_") and name not in hidden]

    def client(self) -> Client:
        """The service of this notebook: what `connect` named, else the one that runs here.

        Raises:
            UsageError: there is none; says what to do.
        """
        if self._client is None:
            return self.connect(self.settings.url)
        if self.connection is not None and not self.connection.is_alive:
            return self.connect()  # it was ended, and perhaps started again with another key
        return self._client

    def connect(self, url: str | None = None, api_key: str | None = None) -> Client:
        """Talk to this service from now on; None is the one that runs on this machine.

        Raises:
            UsageError: none runs here, or there is a choice.
        """
        from aphrodite.client.client import Client

        self.disconnect()
        connection = _only_service(self.settings.port) if url is None else _service_at(url)
        if connection is None:
            self._client = Client(url or "", api_key=api_key)
        else:
            # The file is this user's alone, and so is its key: the owner comes in as the owner.
            key, certificate = api_key or connection.admin_key, connection.certificate or None
            self._client = Client(connection.url, api_key=key, certificate=certificate)
        self.connection = connection
        return self._client

    @contextlib.contextmanager
    def admin(self) -> Iterator[Client]:
        """The service, for what only its owner may do.

        Raises:
            UsageError: the key this notebook has does not open that.
        """
        from aphrodite.client.errors import AuthenticationError, PermissionDeniedError

        client = self.client()
        try:
            yield client
        except (AuthenticationError, PermissionDeniedError) as error:
            raise UsageError(
                f"{client.url} wants an admin key for this ({error}): do it where the service runs, or connect with a "
                "key from `aphrodite keys add NAME --admin`"
            ) from None

    def port(self) -> int:
        """Of the service on this machine that this notebook uses.

        Raises:
            UsageError: it uses one of another machine, or none.
        """
        url = self.client().url
        if self.connection is None:
            raise UsageError(f"{url} is not this user's service on this machine: do it where it runs")
        return self.connection.port

    def disconnect(self) -> None:
        """Forget the service; it runs on."""
        if self._client is not None:
            self._client.close()
        self._client = self.connection = self._model = None

    def model(self, asked: str | None = None) -> str:
        """The model a cell means: the flag, the setting, or the only one that is served.

        Raises:
            UsageError: there is a choice, or nothing to choose from.
        """
        if asked or self.settings.model:
            return asked or self.settings.model
        client = self.client()  # a service that was started again may serve others
        if self._model is None:
            served = client.models()
            roots = {model.root or model.id for model in served}
            if len(roots) != 1:
                names = ", ".join(model.id for model in served) or "none; %aphrodite load MODEL loads one"
                raise UsageError(f"which model? Name it with -m; served: {names}")
            self._model = served[0].id
        return self._model

    def forget_model(self) -> None:
        """What is served may have changed."""
        self._model = None


def _only_service(port: int) -> Connection:
    """The service of this user on this machine; that of the usual port, if there are several."""
    from aphrodite.service import runtime

    if (usual := runtime.read_connection(port)) is not None:
        return usual
    found = [connection for port in runtime.running_ports() if (connection := runtime.read_connection(port))]
    if len(found) > 1:
        choice = " or ".join(f"%aphrodite connect {connection.url}" for connection in found)
        raise UsageError(f"several services run on this machine: {choice}")
    if not found:
        raise UsageError(
            "no service runs on this machine: %aphrodite up starts one, %aphrodite connect http://HOST:2242 uses "
            "another's"
        )
    return found[0]


def _service_at(url: str) -> Connection | None:
    """This user's own service, if that is what is at this address."""
    from aphrodite.service import runtime

    with contextlib.suppress(ValueError):  # the client says what is wrong with an address
        parts = urlsplit(url)
        if parts.hostname in _HERE and parts.port and parts.path.strip("/") in ("", "v1"):
            return runtime.read_connection(parts.port)
    return None
