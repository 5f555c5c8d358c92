"""An engine process that does what its model's name says: dies, talks nonsense, or says nothing."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time

from aphrodite.service.engines import boundary
from experiments.serving.null_worker import facts

COMMAND = (sys.executable, "-m", "tests.service.faulty_worker")


def main() -> None:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.connect(sys.argv[1])
    opening = boundary.receive_from_service(connection)
    assert isinstance(opening, boundary.Open)
    fault = opening.model
    if fault == "dies-while-loading":
        connection.sendall(boundary.frame(boundary.Progress(1, 2)))
        os.kill(os.getpid(), signal.SIGKILL)
    if fault == "is-stopped-while-loading":
        os.kill(os.getpid(), signal.SIGSTOP)
    connection.sendall(boundary.frame(boundary.Ready(facts(fault))))
    if fault != "loads-well":
        time.sleep(0.3)  # long enough to be seen ready
    if fault == "dies-when-ready":
        return
    if fault == "talks-nonsense":
        connection.sendall((3).to_bytes(4, "big") + b"\xc1\xc1\xc1")
    if fault == "announces-too-much":
        connection.sendall((2**31).to_bytes(4, "big"))
    began = None
    while not isinstance(message := boundary.receive_from_service(connection), boundary.Close | None):
        if fault == "hangs-in-a-step" and isinstance(message, boundary.Generate):
            began = time.monotonic()
        if fault == "hangs-in-a-step" and isinstance(message, boundary.Ping):
            stats = boundary.Stats(step_seconds=time.monotonic() - began, step_tokens=1) if began else boundary.Stats()
            connection.sendall(boundary.frame(boundary.Pong(message.number, stats)))


if __name__ == "__main__":
    main()
