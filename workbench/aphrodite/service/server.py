"""The service process: binds the address, starts the engines, answers until it is told to end, then drains."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import socket
import sys
from collections.abc import Iterator

import uvicorn
import uvloop

from aphrodite import __version__
from aphrodite.service import app, runtime
from aphrodite.service.models import Models
from aphrodite.service.service import Service
from aphrodite.service.settings import ServiceSettings

logger = logging.getLogger("aphrodite.server")

EXIT_REFUSED = 3
_BACKLOG = 1024
_POLL_SECONDS = 0.05


def run(settings: ServiceSettings) -> int:
    """Serve until SIGTERM or SIGINT; the exit code: 0 ended as told, 3 a model was refused at the start.

    Raises:
        OSError: the address cannot be bound, or the runtime folder is not ours.
    """
    listener = _bind(settings.host, settings.port)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(settings, listener))


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise OSError(error.errno, f"cannot listen on {host}:{port}: {error.strerror}") from error
    return listener


async def _serve(settings: ServiceSettings, listener: socket.socket) -> int:
    port = listener.getsockname()[1]
    directory = runtime.runtime_directory(port)
    for stale in directory.glob("engine-*.sock"):  # left by a service that was killed while an engine started
        stale.unlink()
    service = Service(settings, Models(directory, settings.worker_command))
    server = _Server(
        uvicorn.Config(
            app.build(service),
            loop="none",
            http="httptools",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            backlog=_BACKLOG,
            timeout_keep_alive=75,
            proxy_headers=False,
        )
    )
    connection = runtime.Connection(
        os.getpid(), runtime.start_ticks(os.getpid()), settings.host, port, secrets.token_urlsafe(32), __version__
    )
    ending = _listen_to_signals()
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    runtime.write_connection(connection)
    logger.info("listening on %s", connection.url)
    loading = asyncio.create_task(_load(service))
    code = 0
    try:
        await asyncio.wait(
            {loading, serving, asyncio.ensure_future(ending.wait())}, return_when=asyncio.FIRST_COMPLETED
        )
        if loading.done():
            code = loading.result()
            if code == 0:
                await asyncio.wait({serving, asyncio.ensure_future(ending.wait())}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await _drain(service, settings.drain_seconds if code == 0 else 0)
        loading.cancel()
        await service.models.close()
        server.should_exit = True
        await serving
        runtime.forget(port)
        logger.info("ended")
    return code


async def _load(service: Service) -> int:
    """Load the models named at the start, one after the other, so that each plans with what is really free."""
    for settings in service.settings.models:
        try:
            engine = await service.models.load(settings)
        except Exception as error:
            logger.error("%s could not be loaded: %s", settings.model, error)
            print(f"error: {error}", file=sys.stderr, flush=True)
            return EXIT_REFUSED
        assert engine.facts is not None
        logger.info("%s is ready after %.1f s", settings.id, engine.facts.load_seconds)
    return 0


def _listen_to_signals() -> asyncio.Event:
    ending = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.set)
    # A terminal that closes must not take the service with it.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    return ending


async def _drain(service: Service, seconds: float) -> None:
    """Refuse new work and let running requests end, for so long."""
    service.draining = True
    if service.in_flight:
        logger.info("draining %d requests for at most %.0f s", service.in_flight, seconds)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while service.in_flight:
                await asyncio.sleep(_POLL_SECONDS)


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: the service drains first."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
