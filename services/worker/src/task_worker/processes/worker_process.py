"""One worker process, seen from its parent: started again and again, and asked to stop by signals.

**Invariants**

- It leads a session of its own, so that the Ctrl-C of a terminal reaches the parent alone, which passes it on once.
- Nothing is signalled once its end has been seen: its number may then be that of another process.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from task_runtime import ExitCode

_ASKED_TO_STOP = frozenset({-signal.SIGTERM, -signal.SIGINT})
"""How a process ends that was asked to stop before it handled signals: it had begun nothing."""


class WorkerProcess:
    """Process `number` of those under one parent.

    Args:
        number: from 1.
        options: the options of the command line, as the parent has got them.
        parent_pipe: the reading end of a pipe, whose other end closes when the parent is gone.
        alive_file: the file that it touches; None if there is none.

    """

    def __init__(self, number: int, options: Sequence[str], parent_pipe: int, alive_file: Path | None) -> None:
        self.number = number
        self.alive_file = alive_file
        self._options = options
        self._parent_pipe = parent_pipe
        self._process: asyncio.subprocess.Process | None = None

    async def run(self) -> int:
        """Start it, wait for its end, and return its exit code, which is negative after a signal.

        A cancelled call leaves it running.

        Raises:
            OSError: no process can be started.

        """
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # else a file of this folder, such as `queue.py`, hides the module of that name
            "-m",
            "task_worker",
            *self._options,
            "child",
            str(self.number),
            stdin=self._parent_pipe,
            start_new_session=True,
        )
        return await self._process.wait()

    @property
    def pid(self) -> int | None:
        """The number that the system has given it, also after its end; None before the first start."""
        return None if self._process is None else self._process.pid

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it runs."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    async def stop(self) -> int:
        """Ask it to drain, wait for its end, and return an exit code for it; OK if it does not run."""
        code: int = ExitCode.OK
        if self._process is not None and self._process.returncode is None:
            self.signal(signal.SIGTERM)
            code = exit_code_after_stop(await self._process.wait())
        if self.alive_file is not None:
            self.alive_file.unlink(missing_ok=True)  # while the others drain, it has nothing to say any more
        return code


def exit_code_after_stop(code: int) -> int:
    """Return the exit code with which a shell would report a process that was asked to stop and ended with `code`."""
    if code in _ASKED_TO_STOP:
        return ExitCode.OK
    return 128 - code if code < 0 else code
