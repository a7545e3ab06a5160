"""pytest fixtures for tests of a process: no setting of the machine, and logging as it was before.

    from task_runtime.testing import plain_environment, untouched_logging  # noqa: F401 # fixtures

in a conftest.py. `PseudoTerminal` runs a command as a person does. Needs the extra `testing`.
"""

from __future__ import annotations

import fcntl
import logging
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
import structlog

import task_runtime.settings
from task_runtime import own_loggers


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hide the settings of the machine: `TASK_*` variables but `TASK_TEST_*`, and the secrets folder."""
    for name in os.environ:
        if name.startswith("TASK_") and not name.startswith("TASK_TEST_"):
            monkeypatch.delenv(name)
    monkeypatch.setattr(task_runtime.settings, "SECRETS_FOLDER", tmp_path / "no-secrets")


@pytest.fixture
def untouched_logging() -> Iterator[None]:
    """Put logging back as it was, after a test that calls `configure_logging`."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    configured = structlog.get_config() if structlog.is_configured() else {}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()
    if configured:
        structlog.configure(**configured)
    own_loggers.write_as_usual()


class PseudoTerminal:
    """A command in a terminal of its own, until the end of the `with` block, which kills what still runs.

    Args:
        words: the command.
        columns: how wide the terminal is.
        environment: all of its environment variables.

    """

    SECONDS = 60.0
    _COLOR = re.compile(r"\x1b\[[0-9;]*m")

    def __init__(self, words: Sequence[str], columns: int, environment: Mapping[str, str]) -> None:
        self._file, child = pty.openpty()
        fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.process = subprocess.Popen(  # noqa: S603 # of the test itself
            words,
            stdin=child,
            stdout=child,
            stderr=child,
            env=dict(environment),
            start_new_session=True,
            # Without a terminal of its own the system would not turn the key Ctrl-C into a signal.
            preexec_fn=_take_terminal,
        )
        os.close(child)
        self.text = ""
        """What the command has written, in full."""

    @property
    def lines(self) -> list[str]:
        """Its lines as a person sees them: without colours. Whatever else steers a terminal is still there."""
        return self._COLOR.sub("", self.text).replace("\r\n", "\n").split("\n")

    def read_until(self, pattern: str) -> re.Match[str]:
        """Read until `pattern` is there, in the text without colours, and return its first match.

        Raises:
            AssertionError: it did not come within a minute, or before the command had ended.

        """
        end = time.monotonic() + self.SECONDS
        while (found := re.search(pattern, "\n".join(self.lines))) is None:
            is_open = self._read()
            if not is_open or time.monotonic() > end:
                raise AssertionError(f"{pattern} is not in:\n{self.text}")
        return found

    def press(self, keys: str) -> None:
        r"""Type on its keyboard; Ctrl-C is `\x03`."""
        os.write(self._file, keys.encode())

    def end(self) -> int:
        """Read up to the end of the command, and return its exit code.

        Raises:
            AssertionError: it has not ended within a minute.

        """
        end = time.monotonic() + self.SECONDS
        while self._read():
            if time.monotonic() > end:
                raise AssertionError(f"it has not ended:\n{self.text}")
        return self.process.wait(self.SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._file)

    def _read(self) -> bool:
        """Read what is there; return False once the command, and all that it started, has ended."""
        if not select.select([self._file], [], [], 0.1)[0]:
            return True
        try:
            block = os.read(self._file, 1 << 16)
        except OSError:  # the other end is closed
            return False
        self.text += block.decode(errors="replace")
        return bool(block)


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
