"""Processes under test: started with an environment, waited for by their log, ended by their id.

**Invariants**
- Standard output and error go into files: nothing blocks on a full pipe, and a killed process leaves its words behind.
- Each process leads a group of its own, so that a Ctrl-C can be sent to it as a terminal would.
- `Processes.aclose` leaves nothing running, and fails where a process had to be killed or ended badly. Should the tests
  themselves be killed, the system ends what they started (on Linux).
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from harness.starts import start
from harness.waiting import SECONDS, eventually

STOP_SECONDS = 20.0
Event = dict[str, Any]


def command(name: str) -> str:
    """Return the path of one of the project's commands, of the environment that runs the tests."""
    return str(Path(sys.executable).parent / name)


def clean_environment() -> dict[str, str]:
    """Return this process's environment without what is set for a service: tests say all of that themselves."""
    return {name: value for name, value in os.environ.items() if not name.startswith("TASK_")}


class Process:
    """One process. Its log is JSON, one event a line."""

    def __init__(self, name: str, words: Sequence[str], environment: Mapping[str, str], folder: Path) -> None:
        self.name = name
        self.log_file = folder / f"{name}.log"
        self.output_file = folder / f"{name}.out"
        self.was_killed = False
        self.was_frozen = False
        self._started = start(words, environment, folder, self.log_file, self.output_file)

    @property
    def pid(self) -> int:
        """Its process id, and that of its group."""
        return self._started.pid

    @property
    def exit_code(self) -> int | None:
        """How it ended; None while it runs."""
        return self._started.poll()

    @property
    def log(self) -> str:
        """What it wrote to standard error, so far."""
        return self.log_file.read_text(errors="replace")

    @property
    def output(self) -> str:
        """What it wrote to standard output, so far."""
        return self.output_file.read_text(errors="replace")

    def events(self, event: str, **fields: object) -> list[Event]:
        """Return the log's lines of an event whose fields have these values."""
        found = []
        for line in self.log.splitlines():
            with suppress(ValueError):
                said = json.loads(line)
                if isinstance(said, dict) and said.get("event") == event and fields.items() <= said.items():
                    found.append(said)
        return found

    async def logged(self, event: str, *, times: int = 1, seconds: float = SECONDS, **fields: object) -> Event:
        """Return the last line of an event, as soon as there are that many."""

        def said() -> list[Event]:
            found = self.events(event, **fields)
            if len(found) < times:
                assert self.exit_code is None, f"{self.name} ended ({self.exit_code}) before {event}:\n{self.tail()}"
                return []
            return found

        found: list[Event] = await eventually(said, f"{self.name} logs {event} {fields or ''}", seconds=seconds)
        return found[-1]

    def terminate(self) -> None:
        """Send SIGTERM to it."""
        self.send(signal.SIGTERM)

    def interrupt(self) -> None:
        """Press Ctrl-C: SIGINT to its whole group."""
        os.killpg(self.pid, signal.SIGINT)

    def kill(self) -> None:
        """Send SIGKILL to it alone."""
        self.was_killed = True
        self.send(signal.SIGKILL)

    def pause(self) -> None:
        """Freeze it."""
        self.was_frozen = True
        self.send(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self.send(signal.SIGCONT)

    def send(self, number: signal.Signals) -> None:
        """Send it any signal; nothing where it has ended."""
        with suppress(ProcessLookupError):
            if self.exit_code is None:
                os.kill(self.pid, number)

    async def ended(self, *, seconds: float = SECONDS) -> int:
        """Return its exit code once it has ended."""
        await eventually(lambda: self.exit_code is not None, f"{self.name} ends", seconds=seconds)
        assert self.exit_code is not None
        return self.exit_code

    async def stop(self, *, seconds: float = STOP_SECONDS) -> int:
        """Ask it to stop, and return its exit code."""
        self.terminate()
        return await self.ended(seconds=seconds)

    def family(self) -> list[psutil.Process]:
        """Return what it has started and what that has started, as far as it still lives."""
        with suppress(psutil.NoSuchProcess):
            return psutil.Process(self.pid).children(recursive=True)
        return []

    def tail(self, lines: int = 40) -> str:
        """Return the last lines that it wrote, for people."""
        return "\n".join([*self.log.splitlines()[-lines:], *self.output.splitlines()[-lines:]])

    def destroy(self) -> None:
        """Kill it with its whole group."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._started.wait(STOP_SECONDS)


class Processes:
    """The processes of one test."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.all: list[Process] = []

    def start(self, words: Sequence[str], environment: Mapping[str, str], *, name: str | None = None) -> Process:
        """Start a command (`harness.starts`); it is called by its first word and a number, unless a name is given."""
        name = name or f"{Path(words[0]).name}-{len(self.all) + 1}"
        process = Process(name, words, {**clean_environment(), **environment}, self._folder)
        self.all.append(process)
        return process

    async def aclose(self) -> None:
        """Stop all that still runs.

        Raises:
            AssertionError: a process did not stop, or not well.

        """
        running = [process for process in self.all if process.exit_code is None]
        for process in running:
            process.resume()
            process.terminate()
        trouble = [line for process in running if (line := await _wound_down(process))]
        assert not trouble, "\n".join(trouble)


async def _wound_down(process: Process) -> str | None:
    try:
        code = await process.ended()
    except AssertionError:
        process.destroy()
        return f"{process.name} did not stop within {STOP_SECONDS:g} s:\n{process.tail()}"
    return f"{process.name} ended with {code}:\n{process.tail()}" if code and not process.was_killed else None
