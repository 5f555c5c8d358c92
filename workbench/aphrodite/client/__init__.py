"""The service from Python: `Client` waits, `AsyncClient` awaits; `aphrodite.connect()` finds the right one."""

from aphrodite.client.async_client import AsyncClient
from aphrodite.client.calls import ServedModel
from aphrodite.client.client import Client
from aphrodite.client.errors import (
    AuthenticationError,
    BadRequestError,
    ClientClosed,
    ClientError,
    ConflictError,
    ConnectionFailed,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RequestTimeout,
    ServerError,
    ServerUnavailable,
    StatusError,
    StreamInterrupted,
    UnexpectedAnswer,
)
from aphrodite.client.loop_thread import Stream
from aphrodite.client.retries import Retries

__all__ = [
    "AsyncClient",
    "AuthenticationError",
    "BadRequestError",
    "Client",
    "ClientClosed",
    "ClientError",
    "ConflictError",
    "ConnectionFailed",
    "NotFoundError",
    "PermissionDeniedError",
    "RateLimitError",
    "RequestTimeout",
    "Retries",
    "ServedModel",
    "ServerError",
    "ServerUnavailable",
    "StatusError",
    "Stream",
    "StreamInterrupted",
    "UnexpectedAnswer",
]
