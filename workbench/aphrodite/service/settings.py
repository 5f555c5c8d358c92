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


class ServiceSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything `aphrodite up` hands to the service.

    Attributes:
        port: 0 lets the system choose one.
        allowed_hosts: names besides the address itself that the Host header may carry.
        allowed_origins: origins of web pages that may call from a browser.
        max_body_bytes: larger requests are refused with 413 (files have a limit of their own).
        drain_seconds: how long running requests may go on after SIGTERM.
        queue_limit: requests beyond it are refused with 429.
        log_prompts: write prompts and answers to the log.
        worker_command: another engine process, for tests and benchmarks.
    """

    models: tuple[ModelSettings, ...] = (ModelSettings("demo"),)
    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    max_body_bytes: int = 8 * 2**20
    drain_seconds: float = 30.0
    queue_limit: int = 2048
    log_prompts: bool = False
    worker_command: tuple[str, ...] = ()


def default_name(model: str) -> str:
    """The name a model is served under when none is given: the folder's, or the id as it is."""
    path = Path(model).expanduser()
    return path.resolve().name if path.is_dir() else model
