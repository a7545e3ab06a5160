"""One PostgreSQL server process, started here or found running.

**Invariants**
- psutil identifies a process by its id and its start time, so a signal never reaches another process with the same id.
- The server has a session of its own: Ctrl-C ends the service, and the service then ends the server. The server may
  outlive the service. It holds no lock of the service, so the next one may find and stop it.
- Only `ended` and `is_running` wait for a child process (reap it).
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from contextlib import suppress
from pathlib import Path

import asyncpg
import psutil

from task_store.embedded._timings import USUAL_TIMINGS, ServerTimings

_POLL_SECONDS = 0.02
_NOT_YET = (
    OSError,
    asyncpg.CannotConnectNowError,
    asyncpg.ConnectionDoesNotExistError,
    asyncpg.TooManyConnectionsError,
)

_log = logging.getLogger(__name__)


class Server:
    """The process of a postmaster, or of one of its children."""

    def __init__(self, process: psutil.Process, timings: ServerTimings = USUAL_TIMINGS) -> None:
        self._process = process
        self._timings = timings

    @classmethod
    def find(cls, cluster: Path, timings: ServerTimings = USUAL_TIMINGS) -> Server | None:
        """Return the server that runs on the folder `cluster`, by its postmaster.pid; None if there is none.

        Removes a postmaster.pid that names a running process of another program (after a crash of the machine, or in a
        new container): PostgreSQL itself would refuse to start. If a process of the old server is left after all, its
        shared memory still prevents a second one.
        """
        pid_file = cluster / "postmaster.pid"
        try:
            process = psutil.Process(int(pid_file.read_text().split("\n")[0]))
            command = process.cmdline()
        except (psutil.ZombieProcess, psutil.AccessDenied):
            command = []
        except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
            return None
        if _runs_on(command, cluster):
            return cls(process, timings)
        pid_file.unlink(missing_ok=True)
        return None

    @property
    def pid(self) -> int:
        """The process id of the postmaster."""
        return int(self._process.pid)

    @property
    def is_running(self) -> bool:
        """Whether the postmaster has not ended yet."""
        if isinstance(self._process, psutil.Popen):
            return self._process.poll() is None
        try:
            return bool(self._process.is_running() and self._process.status() != psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return False

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the postmaster. Does nothing if it has ended."""
        with suppress(psutil.NoSuchProcess):
            self._process.send_signal(number)

    def family(self) -> list[Server]:
        """Return this process and its children. Each has a session of its own, so a process group has only one."""
        try:
            return [self, *map(Server, self._process.children(recursive=True))]
        except psutil.NoSuchProcess:
            return [self]

    async def ended(self) -> None:
        """Return when the postmaster has ended. The caller sets the deadline."""
        while self.is_running:
            await _wait_for_end(self.pid)

    async def stop(self, *, immediate: bool = False) -> None:
        """End the server by stronger and stronger signals; `immediate` without a checkpoint. Safe to repeat."""
        for number, seconds in self._signals(immediate=immediate):
            self.send(number)
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self.ended()
                return
            _log.warning("postgres_stop_slow", extra={"pid": self.pid, "signal": number.name, "seconds": seconds})

    def stop_now(self) -> bool:
        """End the server like `stop`, in any thread, without an event loop; return whether it has ended in time.

        If it has not, it is still ending, by itself.
        """
        self.send(signal.SIGINT)
        seconds = self._timings.leave_seconds
        try:
            self._process.wait(seconds)
        except psutil.TimeoutExpired:
            _log.warning("postgres_stop_slow", extra={"pid": self.pid, "signal": "SIGINT", "seconds": seconds})
            return False
        return True

    async def answers(self, url: str, seconds: float) -> bool:
        """Return True when a connection to `url` succeeds; False if it is refused, the server ends, or time is over."""
        # It must be polled: PostgreSQL announces that it is ready to systemd alone, and only if it was built for that.
        clock = asyncio.get_running_loop().time
        give_up_at = clock() + seconds
        while self.is_running and clock() < give_up_at:
            try:
                connection = await asyncpg.connect(url, timeout=self._timings.connect_seconds)
            except _NOT_YET:
                await asyncio.sleep(_POLL_SECONDS)
            except asyncpg.PostgresError:
                return False
            else:
                await connection.close(timeout=self._timings.connect_seconds)
                return True
        return False

    def _signals(self, *, immediate: bool) -> list[tuple[signal.Signals, float]]:
        """Return the signals to send, each with the seconds to wait after it. Only SIGINT writes a checkpoint."""
        fast = [] if immediate else [(signal.SIGINT, self._timings.fast_seconds)]
        return [
            *fast,
            (signal.SIGQUIT, self._timings.immediate_seconds),
            (signal.SIGKILL, self._timings.kill_seconds),
        ]


def _runs_on(command: list[str], cluster: Path) -> bool:
    if not command or Path(command[0]).name != "postgres" or "-D" not in command[:-1]:
        return False
    try:
        return Path(command[command.index("-D") + 1]).samefile(cluster)
    except OSError:
        return False


async def _wait_for_end(pid: int) -> None:
    """Return when the process has ended, or after a moment if the system cannot announce that."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    except (OSError, AttributeError):  # some containers forbid it, macOS has none
        await asyncio.sleep(_POLL_SECONDS)
        return
    loop = asyncio.get_running_loop()
    has_ended = asyncio.Event()
    loop.add_reader(descriptor, has_ended.set)
    try:
        await has_ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
