"""One process that runs handlers: started, given one attempt after the other, ended by signals.

Its code is `task_worker.attempt.runners.child_main`. It reads requests from its standard input until that closes: then
the worker has ended, in whatever way, and the process ends too. It writes its answers to its standard output.

**Invariants**

- It leads a process group, and nothing is signalled but this group, and nothing after SIGKILL: its number may then be
  that of another one.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import signal
import sys
from pathlib import Path
from typing import Any, Self

from task_worker.attempt.runners.child_messages import SIZE_BYTES, ChildSetup, framed
from task_worker.exits import cause_of_end

_MODULE = "task_worker.attempt.runners.child_main"
_START_PIPES = 8
"""How many pipes must be free when a process is started: for both ends of its own, and for the library's."""
_EXIT_SECONDS = 2.0
"""How long a process may take to end after it has closed its output, before it is killed."""


class ChildProcess:
    """A process, from `start` until `end`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the process was started without its pipes")
        self._process = process
        self._requests = process.stdin
        self._answers = process.stdout
        self._is_killed = False
        self.attempts = 0
        """How many attempts have begun in it."""

    @classmethod
    async def start(cls, setup: ChildSetup, folder: Path | None) -> Self:
        """Start a process in `folder`; None means where the worker is. It loads the handlers and answers `Ready`.

        Raises:
            OSError: no process can be started.

        """
        _require_files()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # else a file of this folder, such as `queue.py`, hides the module of that name
            "-m",
            _MODULE,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=folder,
            start_new_session=True,
        )
        child = cls(process)
        child.send(setup)
        return child

    @property
    def is_alive(self) -> bool:
        """Whether its end has not been seen yet."""
        return self._process.returncode is None

    def send(self, message: object) -> None:
        """Send a message; it is lost if the process has ended."""
        with contextlib.suppress(RuntimeError):  # uvloop refuses to write to a pipe that it has closed
            self._requests.write(framed(message))

    async def read(self) -> Any:
        """Wait for a message and return it; None once the process has ended or closed its output."""
        try:
            size = int.from_bytes(await self._answers.readexactly(SIZE_BYTES), "big")
            return pickle.loads(await self._answers.readexactly(size))  # noqa: S301 # it runs as ourselves
        except (ConnectionError, asyncio.IncompleteReadError):
            return None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process and all that it started; nothing once SIGKILL was sent."""
        if self._is_killed:
            return
        self._is_killed = number is signal.SIGKILL
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    async def wait_cause(self) -> str:
        """Wait for the end of a process that has closed its output, and return what ended it: `signal SIGABRT`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_EXIT_SECONDS):
                await self._process.wait()
        return cause_of_end(await self.end())

    async def end(self) -> int:
        """Kill the process and all that it started, wait for its end, and return its exit code."""
        self.signal(signal.SIGKILL)
        return await self._process.wait()


def _require_files() -> None:
    """Raise an OSError unless there are files enough for a start.

    With too few, uvloop (0.23) leaves some of its own open at each try, and its error does not say why.
    """
    taken: list[int] = []
    try:
        for _ in range(_START_PIPES):
            taken += os.pipe()
    finally:
        for one in taken:
            os.close(one)
