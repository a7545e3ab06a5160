"""The parts that the application is made of. A process makes them and passes them in."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from task_api.access.access import Access, OpenAccess
from task_api.deadlines import DEADLINES, Deadlines
from task_api.offers import Offers
from task_api.settings import ApiSettings
from task_api.watch.watch import Watch
from task_bus.signals import Signals
from task_runtime import NO_TRACER, Tracer
from task_runtime.observers import Observer, Observers
from task_store import Activities, Database, Tasks


@dataclass(frozen=True)
class ApiParts:
    """The parts of one application. Whoever makes them opens and closes them.

    `database` is what the health checks ask: give it a connection that no caller uses, so that readiness never waits
    behind load. `callers` are the connections of callers; `tasks`, `activities` and `watch` work on them too, and the
    last ends its subscriptions at the same `stop`. `offers` know which types live workers offer. `stop` is set when the
    process begins to stop: readiness says so at once. `deadlines` are the usual ones unless a test shortens them.
    `observer` is told of tasks that were stored, and `tracer` where they are. `access` decides who may call.
    """

    settings: ApiSettings
    tasks: Tasks
    activities: Activities
    database: Database
    signals: Signals
    watch: Watch
    callers: Database
    offers: Offers
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    deadlines: Deadlines = DEADLINES
    observer: Observer = field(default_factory=Observers)
    tracer: Tracer = NO_TRACER
    access: Access = field(default_factory=OpenAccess)
