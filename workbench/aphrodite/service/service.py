"""What the routes share: settings, models, and whether new work is taken."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from aphrodite.service.access.accounts import Accounts
from aphrodite.service.access.door import Door
from aphrodite.service.background import Background
from aphrodite.service.engines.models import Models
from aphrodite.service.http.idempotency import Repeats
from aphrodite.service.pages.process import PageProcess
from aphrodite.service.settings import ServiceSettings
from aphrodite.service.storage.storage import Storage
from aphrodite.service.telemetry.metrics import Metrics


@dataclass
class Service:
    """Handed down to every route; nothing of it is global.

    Attributes:
        background: answers that go on after their callers have left.
        accounts: who may come in.
        door: lets their work in, or says when to come back.
        playground: the process behind the pages.
        repeats: answers of requests that may be sent again.
        starting: the models named at the start are not all loaded yet.
        draining: SIGTERM came: no new work.
        in_flight: requests being answered.
        started: Unix time.
    """

    settings: ServiceSettings
    models: Models
    metrics: Metrics
    storage: Storage
    accounts: Accounts
    door: Door
    playground: PageProcess
    starting: bool = True
    draining: bool = False
    in_flight: int = 0
    background: Background = field(default_factory=Background)
    repeats: Repeats = field(default_factory=Repeats)
    started: float = field(default_factory=time.time)
