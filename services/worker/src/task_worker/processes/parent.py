"""The parent of several worker processes: starts them, starts again those that end, and drains them.

**Invariants**

- A process that ends is started again: at once where it has reached a limit of `recycling`, otherwise after a pause
  that grows while it dies as soon as it has begun (`task_runtime.Supervisor`).
- One that ends by exit code 2 cannot start as it is set up, so none can: the others are drained, and the parent ends by
  2 too.
- A request to stop is passed on once, and a second one once: the first as SIGTERM, the second as SIGINT, since two
  signals of one kind may arrive as one.
- The parent ends after its processes, and they end with it (`child`): none is left behind, also where it was killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Iterator, Sequence
from functools import partial

from task_contracts import BackOff
from task_runtime import (
    ExitCode,
    LoopKeepsDyingError,
    Misconfigured,
    RestartPolicy,
    ShutdownSignals,
    Supervisor,
    get_logger,
)
from task_worker.exits import cause_of_end
from task_worker.lease.alive_file import AliveFile
from task_worker.processes.alive_files import AliveFiles
from task_worker.processes.worker_process import WorkerProcess
from task_worker.settings import WorkerSettings
from task_worker.waiting import wait_for_first

_log = get_logger(__name__)

_RESTARTS = RestartPolicy(BackOff(first_seconds=0.5, longest_seconds=30.0))
"""With these pauses a process never dies too often: its alive file says how it is."""
_RECYCLED_SECONDS = 5.0
"""A process that ends by itself sooner has limits with which it gets nothing done: it pauses as if it had died."""
_LEAVE_SECONDS = 30.0
"""How long a process may take to end, on top of its drain, before it is killed."""


class WorkerProcessEndedError(Exception):
    """A worker process has ended that was not asked to."""


async def run_worker_processes(settings: WorkerSettings, options: Sequence[str]) -> int:
    """Run as many worker processes as `settings` say until SIGTERM, SIGINT or SIGHUP, then drain them.

    `options` are those of the command line, for each process. The exit code that is returned is 0 after a drain in
    order, else the highest of those by which the processes ended, and 2 if one of them cannot start as it is set up.

    Raises:
        Misconfigured: an alive file cannot be written.

    """
    with ShutdownSignals() as shutdown, _parent_pipe() as parent_pipe:
        parts = [settings.of_process(number) for number in range(1, settings.processes + 1)]
        processes = [
            WorkerProcess(number, options, parent_pipe, part.alive_file) for number, part in enumerate(parts, start=1)
        ]
        paths = [part.alive_file for part in parts if part.alive_file is not None]
        alive_files = AliveFiles(AliveFile(settings.alive_file, settings.lease_seconds), paths)
        try:
            alive_files.begin()
        except OSError as error:
            raise Misconfigured(f"TASK_WORKER_ALIVE_FILE: {error.filename}: {error.strerror}") from error
        showing = asyncio.create_task(alive_files.run())
        try:
            return await Parent(processes, settings.drain_seconds).run(shutdown.stop, shutdown.hurry)
        finally:
            showing.cancel()


class Parent:
    """Runs worker processes until it is asked to stop.

    Args:
        processes: none of them started.
        drain_seconds: how long each may go on running tasks.

    """

    def __init__(self, processes: Sequence[WorkerProcess], drain_seconds: float) -> None:
        self._processes = processes
        self._drain_seconds = drain_seconds
        self._misconfigured = asyncio.Event()

    async def run(self, stop: asyncio.Event, hurry: asyncio.Event) -> int:
        """Keep them running until `stop`, then drain them; `hurry` ends the drain. Return the exit code."""
        supervisor = Supervisor(_RESTARTS)
        for process in self._processes:
            supervisor.start(f"process {process.number}", partial(self._keep_running, process))
        code = ExitCode.OK
        try:
            await wait_for_first(stop.wait(), self._misconfigured.wait(), supervisor.wait())
        except LoopKeepsDyingError as error:
            _log.critical("worker_gives_up", reason=str(error))
            code = ExitCode.FAILED
        await supervisor.aclose()
        drained = await self._drain(hurry)
        return ExitCode.MISCONFIGURED if self._misconfigured.is_set() else max(code, drained)

    async def _keep_running(self, process: WorkerProcess) -> None:
        """Run a process, and again each time that it was recycled, until it turns out to be set up wrong.

        Raises:
            WorkerProcessEndedError: it has died.

        """
        while True:
            began = time.monotonic()
            code = await process.run()
            if code == ExitCode.MISCONFIGURED:
                self._misconfigured.set()
                return
            seconds = time.monotonic() - began
            if code != ExitCode.OK or seconds < _RECYCLED_SECONDS:
                how = f"by {cause_of_end(code)} after {seconds:.1f} s"
                raise WorkerProcessEndedError(f"process {process.number} (pid {process.pid}) ended {how}")
            _log.info("worker_process_recycled", process=process.number, pid=process.pid)

    async def _drain(self, hurry: asyncio.Event) -> int:
        """Ask all to stop and wait until they have; return the highest of their exit codes."""
        ends = asyncio.gather(*(process.stop() for process in self._processes))
        hurrying = asyncio.create_task(self._signal_at(hurry, signal.SIGINT))
        try:
            async with asyncio.timeout(self._drain_seconds + _LEAVE_SECONDS):
                return max(await asyncio.shield(ends))
        except TimeoutError:
            _log.error("worker_processes_killed", reason="they did not end after their drain")
            self._signal(signal.SIGKILL)
            return max(await ends)
        finally:
            hurrying.cancel()

    async def _signal_at(self, event: asyncio.Event, number: signal.Signals) -> None:
        await event.wait()
        self._signal(number)

    def _signal(self, number: signal.Signals) -> None:
        for process in self._processes:
            process.signal(number)


@contextlib.contextmanager
def _parent_pipe() -> Iterator[int]:
    """Give the reading end of a pipe that closes with this block or this process: nobody else has the other end."""
    reading, writing = os.pipe()
    try:
        yield reading
    finally:
        os.close(reading)
        os.close(writing)
