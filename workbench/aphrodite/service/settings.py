"""What a service is started with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

DEFAULT_PORT = 2242
DEFAULT_HOST = "127.0.0.1"


class ModelSettings(msgspec.Struct, frozen=True):
    """One model to serve.

    Attributes:
        model: "demo", a folder, or a Hugging Face id.
        names: what clients may call it; the first is its id.
        engine: fields of EngineConfig.
    """

    model: str
    names: tuple[str, ...] = ()
    engine: dict[str, Any] = {}

    @property
    def id(self) -> str:
        """The first served name, or one made from the model's own."""
        return self.names[0] if self.names else default_name(self.model)

    @property
    def all_names(self) -> tuple[str, ...]:
        return self.names or (self.id,)


class EdgeSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How much, and how slowly, a connection may send and read.

    Attributes:
        max_connections: further ones are refused with 503; fewer where the system allows fewer open files.
        max_header_bytes: request line and headers together.
        header_seconds: from a connection, or the first byte of its next request, to the end of the headers.
        body_seconds: for a body, beside a second for each `slowest_bytes_per_second`.
        stall_seconds: for a client that does not read its answer; one that does has as much time beside it.
    """

    max_connections: int = 2048
    max_headers: int = 100
    max_header_bytes: int = 32 * 1024
    header_seconds: float = 15.0
    body_seconds: float = 30.0
    stall_seconds: float = 30.0
    slowest_bytes_per_second: int = 4096
    keep_alive_seconds: int = 75


class StorageSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How much each tenant may keep on the service's disk, and for how long.

    Attributes:
        keep_days: responses, conversations, batches and files are deleted so long after they were made (a conversation:
            after what was last said in it); 0 keeps them until somebody deletes them.
        max_items: of responses, of messages in conversations, of files, and of batches.
        max_bytes: of all of them together.
    """

    keep_days: float = 0.0
    max_items: int = 100_000
    max_bytes: int = 20 * 2**30


class ServiceSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything `aphrodite up` hands to the service.

    Attributes:
        port: 0 lets the system choose one.
        allowed_hosts: names besides the address itself that the Host header may carry; a key is needed under them.
        allowed_origins: origins of web pages that may call from a browser.
        max_body_bytes: larger requests are refused with 413 (files have a limit of their own).
        max_file_bytes: larger uploads to /v1/files are refused with 413.
        drain_seconds: how long running requests may go on after SIGTERM.
        hung_seconds: an engine that says nothing for so long, or is in one step for so much longer than its tokens
            explain, is killed and started again.
        queue_limit: requests at once, running or waiting; further ones are refused with 429.
        log_prompts: write prompts and answers to the log.
        require_key: also over loopback, where other users of the machine are not to be let in.
        tls_cert, tls_key: PEM files; with them the service speaks HTTPS.
        insecure_http: other machines may call without TLS.
        playground: the page at `/`, where it is installed; its process starts with the first visit.
        edge: bounds of a connection.
        storage: bounds of what is stored.
        worker_command: another engine process, for tests and benchmarks.
    """

    models: tuple[ModelSettings, ...] = (ModelSettings("demo"),)
    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    max_body_bytes: int = 8 * 2**20
    max_file_bytes: int = 512 * 2**20
    drain_seconds: float = 30.0
    hung_seconds: float = 30.0
    queue_limit: int = 2048
    log_prompts: bool = False
    require_key: bool = False
    tls_cert: str = ""
    tls_key: str = ""
    insecure_http: bool = False
    playground: bool = True
    edge: EdgeSettings = EdgeSettings()
    storage: StorageSettings = StorageSettings()
    worker_command: tuple[str, ...] = ()


def default_name(model: str) -> str:
    """The name a model is served under when none is given: the folder's, or the id as it is."""
    path = Path(model).expanduser()
    return path.resolve().name if path.is_dir() else model
