"""The worker of the service: one after the other, a new one each time the handlers have changed.

**Invariants**

- The next worker starts when the last one has ended, so that the code of two never runs at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from task_bus import TaskBus
from task_bus.signals import Signals
from task_runtime import NO_METER, NO_TRACER, Meter, Tracer
from task_service.handler_reloader import HandlerReloader
from task_worker.settings import WorkerSettings
from task_worker.worker import Worker


class ReloadingWorker:
    """Runs a worker, and where `is_reloading` a new one each time the handlers have changed.

    Args:
        settings, bus, signals, end_process, meter, tracer: as `task_worker.worker.Worker` takes them.
        reloader: gives the handlers.
        is_reloading: whether changed handlers are loaded.

    """

    def __init__(
        self,
        settings: WorkerSettings,
        reloader: HandlerReloader,
        bus: TaskBus,
        signals: Signals,
        *,
        is_reloading: bool,
        end_process: Callable[[int], None],
        meter: Meter = NO_METER,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        self._settings = settings
        self._reloader = reloader
        self._bus = bus
        self._signals = signals
        self._is_reloading = is_reloading
        self._end_process = end_process
        self._meter = meter
        self._tracer = tracer

    async def run(self, drain: asyncio.Event, hurry: asyncio.Event) -> None:
        """Run until `drain` is set and the worker has drained; once `hurry` is set it does not wait for its tasks.

        Raises:
            LoopKeepsDyingError: a part of the worker died too often.

        """
        while not drain.is_set():
            stop, do_not_wait = asyncio.Event(), asyncio.Event()
            watches = [asyncio.create_task(_relay(drain, stop)), asyncio.create_task(_relay(hurry, do_not_wait))]
            if self._is_reloading:
                watches.append(asyncio.create_task(self._reload(stop, do_not_wait)))
            worker = Worker(
                self._settings,
                self._reloader.handlers,
                self._bus,
                self._signals,
                end_process=self._end_process,
                meter=self._meter,
                tracer=self._tracer,
            )
            try:
                await worker.run(stop, do_not_wait)
            finally:
                for watch in watches:
                    watch.cancel()
                await asyncio.gather(*watches, return_exceptions=True)

    async def _reload(self, stop: asyncio.Event, do_not_wait: asyncio.Event) -> None:
        """End this worker once there are new handlers. Tasks that it runs are released, and the new code runs them."""
        await self._reloader.wait_changed()
        stop.set()
        do_not_wait.set()


async def _relay(source: asyncio.Event, target: asyncio.Event) -> None:
    await source.wait()
    target.set()
