"""One PostgreSQL server process, started here or found running.

**Invariants**
- psutil tells a process by its id and its time of birth, so a signal never reaches a stranger who got the same id.
- The server has a session of its own, so that Ctrl-C ends the service first and the service then ends it. It
  outlives us: who finds it again may stop it, for it holds no lock of ours.
- A child of ours is reaped only by `ended` or `is_running`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from contextlib import suppress
from pathlib import Path

import asyncpg
import psutil  # type: ignore[import-untyped] # it ships no types; nothing of it leaves this module

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
    """A postmaster (or one of its children), by its process."""

    def __init__(self, process: psutil.Process, timings: ServerTimings = USUAL_TIMINGS) -> None:
        self._process = process
        self._timings = timings

    @classmethod
    def find(cls, cluster: Path, timings: ServerTimings = USUAL_TIMINGS) -> Server | None:
        """Return the server that runs on the folder `cluster`, as its postmaster.pid says; None if there is none.

        Removes a postmaster.pid whose process is alive and somebody else's (after a crash of the machine, or in a
        new container): PostgreSQL itself would refuse to start. Should a process of the old server be left, its
        shared memory still keeps a second one off.
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
        """Send a signal to the postmaster; nothing if it has ended."""
        with suppress(psutil.NoSuchProcess):
            self._process.send_signal(number)

    def family(self) -> list[Server]:
        """Return this process and those that it began. Each of them has a session of its own, so no group does it."""
        try:
            return [self, *map(Server, self._process.children(recursive=True))]
        except psutil.NoSuchProcess:
            return [self]

    async def ended(self) -> None:
        """Return once the postmaster has ended. The caller sets the deadline."""
        while self.is_running:
            await _news_of(self.pid)

    async def stop(self, *, immediate: bool = False) -> None:
        """End the server, `immediate` without a checkpoint: by one signal after another. Safe to repeat."""
        for number, seconds in self._signals(immediate=immediate):
            self.send(number)
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self.ended()
                return
            _log.warning("postgres_stop_slow", extra={"pid": self.pid, "signal": number.name, "seconds": seconds})

    async def answers(self, url: str, seconds: float) -> bool:
        """Wait until a connection to `url` succeeds; False if it is refused, the server ends or `seconds` are over."""
        # There is nothing to wait on: PostgreSQL tells systemd when it is ready, if it was built to, and nobody else.
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
        """Return the signals to stop by, each with the seconds that it gets. Without SIGINT there is no checkpoint."""
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


async def _news_of(pid: int) -> None:
    """Return when the process has ended, or after a moment where the system cannot say when."""
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
