"""What the routes share: settings, models, and whether new work is taken."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from aphrodite.service.models import Models
from aphrodite.service.settings import ServiceSettings


@dataclass
class Service:
    """Handed down to every route; nothing of it is global.

    Attributes:
        starting: the models named at the start are not all loaded yet.
        draining: SIGTERM came: no new work.
        in_flight: requests being answered.
        started: Unix time.
    """

    settings: ServiceSettings
    models: Models
    starting: bool = True
    draining: bool = False
    in_flight: int = 0
    started: float = field(default_factory=time.time)
