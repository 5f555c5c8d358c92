"""What one notebook remembers between its cells: which service it talks to, which model, which conversations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aphrodite.magics.errors import UsageError
from aphrodite.magics.settings import Settings

if TYPE_CHECKING:  # the client takes a moment to import that only the first request pays
    from aphrodite.client.client import Client

Message = Mapping[str, Any]


@dataclass
class Notebook:
    """State of one kernel.

    Attributes:
        names: the user's variables.
        conversations: messages by the name given with --chat.
    """

    names: dict[str, Any]
    settings: Settings
    conversations: dict[str, list[Message]] = field(default_factory=dict)
    _client: Client | None = None
    _model: str | None = None

    def client(self) -> Client:
        """The service of this notebook: what `connect` named, else the one that runs here.

        Raises:
            UsageError: there is none; says what to do.
        """
        if self._client is None:
            self.connect(self.settings.url)
        assert self._client is not None
        return self._client

    def connect(self, url: str | None = None, api_key: str | None = None, certificate: str | None = None) -> Client:
        """Talk to this service from now on; None is the one that runs on this machine."""
        from aphrodite.client.client import Client
        from aphrodite.session import NoService, connect

        try:
            found = (
                connect(url, api_key=api_key)
                if certificate is None
                else Client(url or "", api_key=api_key, certificate=certificate)
            )
        except NoService as error:
            raise UsageError(f"{error}; start one with %aphrodite up") from None
        assert isinstance(found, Client)
        self.disconnect()
        self._client = found
        return found

    def disconnect(self) -> None:
        """Forget the service; it runs on."""
        if self._client is not None:
            self._client.close()
        self._client = self._model = None

    def model(self, asked: str | None = None) -> str:
        """The model a cell means: the flag, the setting, or the only one that is served.

        Raises:
            UsageError: there is a choice, or nothing to choose from.
        """
        if asked or self.settings.model:
            return asked or self.settings.model
        if self._model is None:
            served = self.client().models()
            roots = {model.root or model.id for model in served}
            if len(roots) != 1:
                names = ", ".join(model.id for model in served) or "none is loaded; see %aphrodite load"
                raise UsageError(f"which model? Name it with -m; served: {names}")
            self._model = served[0].id
        return self._model

    def forget_model(self) -> None:
        """What is served may have changed."""
        self._model = None
