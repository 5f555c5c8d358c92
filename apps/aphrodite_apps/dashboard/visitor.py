"""Who is at the page: each has a client of the service, which speaks for nobody else."""

from __future__ import annotations

from collections import OrderedDict

import gradio as gr

from aphrodite.client import AsyncClient

#: Clients that are kept; a visitor beyond that takes the place of whoever was not seen for longest.
_MOST = 64


class Visitors:
    """The clients of everybody who is at the page.

    Args:
        url, certificate: of the service.
    """

    def __init__(self, url: str, certificate: str | None = None) -> None:
        self._url, self._certificate = url, certificate
        self._clients: OrderedDict[str, AsyncClient] = OrderedDict()

    def client(self, request: gr.Request) -> AsyncClient:
        """Of whoever sent this."""
        return self.of_token(request.headers.get("authorization", "").removeprefix("Bearer "))

    def of_token(self, token: str) -> AsyncClient:
        """Of whoever this token speaks for."""
        if token not in self._clients:
            # No further tries: at a page, a person decides whether to try again.
            self._clients[token] = AsyncClient(
                self._url, api_key=token or "none", certificate=self._certificate, retries=0
            )
            if len(self._clients) > _MOST:
                self._clients.popitem(last=False)
        self._clients.move_to_end(token)
        return self._clients[token]
