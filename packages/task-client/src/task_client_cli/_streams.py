"""Stdout and stderr of the command: what cannot be written ends it with an exit code that says so."""

from __future__ import annotations

import os
import sys
from typing import Any, TextIO, cast

from task_client_cli._exits import CommandError, ExitCode


class ReaderGoneError(Exception):
    """Whoever read stdout has gone, such as `head`: nobody wants the rest."""


def guard() -> None:
    """Put guarded streams in place of stdout and stderr, for whatever writes to them: `Output`, typer and rich.

    Without stderr (`2>&-`), words for people are dropped.

    Raises:
        CommandError: there is no stdout (`>&-`).

    """
    # What was closed before Python started is None (typeshed does not say so).
    sys.stderr = cast("TextIO", _Stderr(sys.stderr or open(os.devnull, "w")))  # noqa: PTH123, SIM115 # as long as we run
    if cast("TextIO | None", sys.stdout) is None:
        raise CommandError(ExitCode.UNWRITABLE, "stdout is closed")
    sys.stdout = cast("TextIO", _Stdout(sys.stdout))


class _Guarded:
    """A stream that goes nowhere once it cannot be written."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write text; where that fails, do as `_fail` says."""
        try:
            return self._stream.write(text)
        except OSError as error:
            self._drop()
            self._fail(error)
        return len(text)

    def flush(self) -> None:
        """Hand over what was written; where that fails, do as `_fail` says."""
        try:
            self._stream.flush()
        except OSError as error:
            self._drop()
            self._fail(error)

    def _drop(self) -> None:
        # Python writes what is left at its end, which would fail again, with a message and exit code 120.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)

    def _fail(self, error: OSError) -> None:
        """Say that the stream could not be written, or that it does not matter."""


class _Stdout(_Guarded):
    def _fail(self, error: OSError) -> None:
        if isinstance(error, BrokenPipeError):
            raise ReaderGoneError from None
        raise CommandError(ExitCode.UNWRITABLE, f"stdout cannot be written: {error.strerror}") from error


class _Stderr(_Guarded):
    """Stderr: that nobody reads the words is no reason to end otherwise."""
