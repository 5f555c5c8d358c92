"""The service process: loads the models, answers until it is told to end, then drains."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import secrets
import signal
import socket
import sys
from collections.abc import Iterable, Iterator

import uvicorn
import uvloop

from aphrodite import __version__
from aphrodite.service import app, garbage, runtime
from aphrodite.service.access import exposure
from aphrodite.service.access.accounts import Accounts
from aphrodite.service.access.door import Door
from aphrodite.service.access.keys import KeyStoreError
from aphrodite.service.access.metering import metered, told
from aphrodite.service.engines.models import Models
from aphrodite.service.errors import ApiError
from aphrodite.service.housekeeping import keep_house
from aphrodite.service.http.edge import Edge
from aphrodite.service.http.listener import listen
from aphrodite.service.http.protocol import EdgeProtocol
from aphrodite.service.openai.batches.runner import BatchRunner
from aphrodite.service.pages.process import PageProcess
from aphrodite.service.service import Service
from aphrodite.service.settings import ServiceSettings
from aphrodite.service.storage.storage import Storage
from aphrodite.service.telemetry.metrics import Metrics
from aphrodite.service.telemetry.prompt_log import prompts

logger = logging.getLogger("aphrodite.server")

EXIT_REFUSED = 1
_POLL_SECONDS = 0.05
#: For the last bytes of the last answers, after every request has ended one way or the other.
_GOODBYE_SECONDS = 5


def run(settings: ServiceSettings, listener: socket.socket | None = None) -> int:
    """Serve until SIGTERM or SIGINT; the exit code: 0 ended as told, 1 a model was refused at the start.

    Raises:
        ServiceError: the address cannot be bound, or the runtime folder is not ours.
    """
    exposure.check(settings)
    listener = listener or listen(settings.host, settings.port)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(settings, listener))


async def _serve(settings: ServiceSettings, listener: socket.socket) -> int:
    port = listener.getsockname()[1]
    metrics = Metrics()
    storage = Storage(runtime.data_directory(), settings.storage)
    admin_key = secrets.token_urlsafe(32)
    accounts = Accounts(exposure.key_store(), admin_key)
    door = Door(accounts, settings.queue_limit)
    observers = (metrics.watch, metered, *((prompts,) if settings.log_prompts else ()))
    models = Models(_own_directory(port), told(*observers), settings.worker_command, settings.hung_seconds)
    connection = runtime.Connection(
        os.getpid(), runtime.start_ticks(os.getpid()), settings.host, port, admin_key, __version__, settings.tls_cert
    )
    pages = PageProcess(runtime.runtime_directory(port) if settings.playground else None, _way_in(connection))
    service = Service(settings, models, metrics, storage, accounts, door, pages)
    batches = BatchRunner(service, app.ENDPOINTS)
    edge = Edge(settings.edge)
    server = _server(service, edge)
    ending = Ending()
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    watches = [asyncio.create_task(accounts.follow()), asyncio.create_task(edge.watch())]
    watches.append(asyncio.create_task(keep_house(storage)))
    runtime.write_connection(connection)
    logger.info("listening on %s", connection.url)
    loading = asyncio.create_task(_load(service, batches))
    try:
        code = await _until_told(loading, serving, ending)
    finally:
        service.draining = True
        loading.cancel()
        await asyncio.wait({loading})
        await batches.stop()
        await _drain(service, ending)
        await service.background.close()
        await pages.close()
        await service.models.close()
        server.should_exit = True
        await asyncio.wait({serving})
        await _end(watches, accounts)
        await storage.close()
        runtime.forget(port)
        logger.info("ended")
    return code


def _way_in(connection: runtime.Connection) -> tuple[str, ...]:
    """How the playground's process reaches this service, as its command line says it: no secret is in it."""
    return (connection.url, *([connection.certificate] if connection.certificate else []))


async def _end(watches: Iterable[asyncio.Task[None]], accounts: Accounts) -> None:
    for watch in watches:
        watch.cancel()
    await asyncio.gather(*watches, return_exceptions=True)
    try:
        await accounts.save()
    except KeyStoreError as error:
        logger.error("what was used in the last seconds is lost: %s", error)


def _own_directory(port: int) -> runtime.Path:
    directory = runtime.runtime_directory(port)
    for stale in directory.glob("*.sock"):  # left by a service that was killed
        stale.unlink()
    return directory


async def _until_told(loading: asyncio.Task[bool], serving: asyncio.Task[None], ending: Ending) -> int:
    """Load, then serve; the exit code."""
    told = asyncio.create_task(ending.told.wait())
    try:
        await asyncio.wait({loading, serving, told}, return_when=asyncio.FIRST_COMPLETED)
        if loading.done() and not loading.result():
            return EXIT_REFUSED
        await asyncio.wait({serving, told}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
            return EXIT_REFUSED
        return 0
    finally:
        told.cancel()


async def _load(service: Service, batches: BatchRunner) -> bool:
    """Load the models named at the start, one after the other, so that each plans with what is really free."""
    for settings in service.settings.models:
        try:
            engine = await service.models.load(settings)
        except ApiError as error:
            logger.error("%s could not be loaded: %s", settings.model, error)
            print(f"error: {error}", file=sys.stderr, flush=True)
            return False
        assert engine.facts is not None
        logger.info("%s is ready after %.1f s", settings.id, engine.facts.load_seconds)
    garbage.settle()
    service.starting = False
    batches.start()
    return True


class Ending:
    """What SIGTERM, SIGINT and SIGHUP say: once, end when running requests are done; twice, end now.

    SIGHUP counts where it is not ignored: `aphrodite up --foreground` ends with its terminal, unless under nohup.

    Attributes:
        told: once.
        hurried: twice.
    """

    def __init__(self) -> None:
        self.told, self.hurried = asyncio.Event(), asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:
                asyncio.get_running_loop().add_signal_handler(number, self._tell)

    def _tell(self) -> None:
        (self.hurried if self.told.is_set() else self.told).set()


async def _drain(service: Service, ending: Ending) -> None:
    """Let running requests end; new ones are refused already."""
    seconds = service.settings.drain_seconds
    if service.in_flight:
        logger.info("draining %d requests for at most %.0f s", service.in_flight, seconds)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while service.in_flight and not ending.hurried.is_set():
                await asyncio.sleep(_POLL_SECONDS)
    if service.in_flight:
        logger.warning("%d requests are ended with an error", service.in_flight)


def _server(service: Service, edge: Edge) -> uvicorn.Server:
    return _Server(
        uvicorn.Config(
            app.build(service),
            loop="none",
            http=functools.partial(EdgeProtocol, edge),  # type: ignore[arg-type]
            ws="none",
            ssl_certfile=service.settings.tls_cert or None,
            ssl_keyfile=service.settings.tls_key or None,
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            timeout_keep_alive=service.settings.edge.keep_alive_seconds,
            timeout_graceful_shutdown=_GOODBYE_SECONDS,
            proxy_headers=False,
        )
    )


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: the service drains first."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
