"""The parts that the application is made of. A process makes them and passes them in."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from task_api.deadlines import DEADLINES, Deadlines
from task_api.settings import ApiSettings
from task_api.watch.watch import Watch
from task_bus.signals import Signals
from task_store import Database, Tasks


@dataclass(frozen=True)
class ApiParts:
    """The parts of one application. Whoever makes them opens and closes them.

    `database` is what the health checks ask: give it a connection that no caller uses, so that readiness never waits
    behind load. `callers` are the connections of callers; `tasks` and `watch` work on them too, and the latter ends its
    subscriptions at the same `stop`. `stop` is set when the process begins to stop: readiness says so at once.
    `deadlines` are the usual ones unless a test shortens them.
    """

    settings: ApiSettings
    tasks: Tasks
    database: Database
    signals: Signals
    watch: Watch
    callers: Database
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    deadlines: Deadlines = DEADLINES
