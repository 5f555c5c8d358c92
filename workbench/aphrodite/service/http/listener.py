"""The socket the service listens on."""

from __future__ import annotations

import errno
import socket

from aphrodite.service.runtime import ServiceError

_BACKLOG = 1024


class PortInUse(ServiceError):
    """Another program listens there."""


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 lets the system choose one.

    Raises:
        PortInUse: the address is taken.
        ServiceError: it is not allowed or not this machine's.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        # At once: two sockets may be bound to one port as long as neither listens.
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PortInUse(
                f"port {port} is in use by another program; end that, or choose another port: --port N"
            ) from error
        raise ServiceError(f"cannot listen on {host}:{port}: {error.strerror}") from error
    except OverflowError as error:
        listener.close()
        raise ServiceError(f"port={port} is not allowed: a number from 0 to 65535") from error
    return listener
