"""A child of the fork server becomes one of the project's commands.

Nearly all of a command's start goes into imports: 0.6 to 1.0 s of processor time, with coverage 1.0 to 1.5 s. A child
of a server that has them behind it starts in 0.1 s, and from `main` on it is what any other start of that command is:
a process with an environment, a group and files of its own.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from harness.starts import PRELOADED

_MAIN_BY_COMMAND = {
    "task-api": "task_api.__main__",
    "task-migrate": "task_migrations.__main__",
    "task-service": "task_service.__main__",
    "task-worker": "task_worker.__main__",
}
_TESTS = Path(__file__).parents[1]
_PR_SET_PDEATHSIG = 1
_FILES_MAX = 1024
"""More than are ever open in the fork server."""


def run(words: Sequence[str], environment: Mapping[str, str], folder: Path, log: Path, output: Path) -> NoReturn:
    """Become what `subprocess` would have started, and run the command to its end."""
    assert not (lost := set(PRELOADED) - sys.modules.keys()), f"the fork server could not import {lost}"
    assert threading.active_count() == 1, "an import has started a thread, which is not there after the fork"
    os.setsid()
    _end_with_parent()
    os.closerange(3, _FILES_MAX)  # the pipe among them by which the fork server knows that the tests have ended
    os.chdir(folder)
    for number, file in enumerate((Path(os.devnull), output, log)):
        opened = os.open(file, os.O_RDWR | os.O_TRUNC)
        os.dup2(opened, number)
        os.close(opened)
    os.environ.clear()
    os.environ.update(environment)
    # What stands here is for the tests alone.
    sys.path[:] = [path for path in sys.path if path not in {"", str(_TESTS), str(_TESTS.parent)}]
    _measure_greenlets_of_main_thread_only()
    sys.argv = [*words]
    sys.exit(import_module(_MAIN_BY_COMMAND[words[0]]).main())


def _measure_greenlets_of_main_thread_only() -> None:
    """Tell threads apart by an object of their own, not by a greenlet of theirs.

    A thread's greenlets are forgotten after its end, by a call that CPython makes in the main thread between two
    bytecodes. Where a second such call is asked for within the first, CPython 3.11 goes round in a circle for good if
    the code is traced, as that of coverage which forgets them is: a process at whose end two threads end at once hangs.
    """
    measuring = sys.modules.get("coverage")
    if measuring is None or (current := measuring.Coverage.current()) is None:
        return
    collector = current._collector  # coverage has no setting for it
    assert collector.concur_id_func is not None, "coverage no longer tells greenlets apart by this function"
    collector.concur_id_func = _of_this_thread


class _ThreadMark:
    """Stands for a thread in coverage's tables, and goes with it."""


class _PerThread(threading.local):
    def __init__(self) -> None:
        self.mark = _ThreadMark()


_per_thread = _PerThread()


def _of_this_thread() -> _ThreadMark:
    return _per_thread.mark


def _end_with_parent() -> None:
    """Have the system kill this process when the fork server ends, which ends with the tests, however they end."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
