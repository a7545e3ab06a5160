"""A worker in a process of its own, over the bus in memory: `worker_process.py SETTINGS-AS-JSON`."""

from __future__ import annotations

import json
import sys

from task_bus import MemoryHub, open_bus
from task_bus.signals import open_signals
from task_runtime import ExitCode, ShutdownSignals, exit_process, run_process
from task_worker.loader import load_handlers
from task_worker.settings import WorkerSettings
from task_worker.worker import Worker


async def run(settings: WorkerSettings) -> ExitCode:
    hub = MemoryHub()
    with ShutdownSignals() as asked:
        async with (
            open_bus("memory://", queues=settings.queues, name="worker", hub=hub) as bus,
            open_signals("memory://", name="worker", hub=hub) as signals,
        ):
            handlers = load_handlers(settings.handlers, settings.http_hosts)
            await Worker(settings, handlers, bus, signals).run(asked.stop, asked.hurry)
    return ExitCode.OK


def main() -> None:
    defaults = {"broker_url": "memory://", "lease_seconds": 3, "log_level": "ERROR", "log_format": "json"}
    settings = WorkerSettings(**{**defaults, **json.loads(sys.argv[1])})
    exit_process(run_process(lambda: run(settings), settings))


if __name__ == "__main__":
    main()
