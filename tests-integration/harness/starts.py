"""The two ways to start a process: to execute a file, and to fork a server that has imported the project's commands."""

from __future__ import annotations

import multiprocessing
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol
from unittest.mock import patch

PRELOADED = [
    "task_api.__main__",
    "task_api.probe",
    "task_api.process",
    "task_migrations.__main__",
    "task_service.__main__",
    "task_service.backup",
    "task_service.restore",
    "task_service.service",
    "task_worker.__main__",
    "task_worker.process",
]
"""What the fork server imports: the commands, and what they import where they use it."""

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(PRELOADED)


class Started(Protocol):
    """What is used here of `subprocess.Popen`."""

    @property
    def pid(self) -> int:
        """Its process id."""

    def poll(self) -> int | None:
        """Return its exit code, below 0 where a signal ended it; None while it runs."""

    def wait(self, timeout: float) -> object:
        """Wait for its end, `timeout` seconds at most.

        Raises:
            subprocess.TimeoutExpired: it still runs.

        """


def start(words: Sequence[str], environment: Mapping[str, str], folder: Path, log: Path, output: Path) -> Started:
    """Start a process in a group and a folder of its own; it writes to `log` and `output` and reads nothing.

    The first word is the path of a file, to be executed, or the name of one of the project's commands.
    """
    for file in (log, output):
        file.touch()  # to be read from now on
    return (_execute if "/" in words[0] else _Forked)(words, environment, folder, log, output)


def _execute(
    words: Sequence[str], environment: Mapping[str, str], folder: Path, log: Path, output: Path
) -> subprocess.Popen[bytes]:
    # Not measured: see `harness.forked`, which can prevent there what coverage does to the end of a process.
    unmeasured = {name: value for name, value in environment.items() if not name.startswith("COVERAGE_")}
    setpriv = shutil.which("setpriv")
    mortal = [setpriv, "--pdeathsig=KILL"] if setpriv else []
    with log.open("wb") as log_file, output.open("wb") as output_file:
        return subprocess.Popen(
            [*mortal, *words],
            env=unmeasured,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output_file,
            stderr=log_file,
            start_new_session=True,
        )


class _Forked:
    """A child of the fork server, which starts with the first of them."""

    def __init__(self, *started: object) -> None:
        # A daemon: one that a test has not stopped is not waited for at the end.
        self._process = _FORKS.Process(target=_run, args=started, daemon=True)
        with patch.dict(sys.modules, {"__main__": ModuleType("__main__")}):  # or each child would import pytest's
            self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float) -> object:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout)
        return None


def _run(*started: Any) -> None:
    from harness import forked  # which imports the services: not for the process of the tests

    forked.run(*started)
