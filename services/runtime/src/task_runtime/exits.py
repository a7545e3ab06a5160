"""The exit codes of a process, and the exception for the third."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """How a process has ended, for whoever started it."""

    OK = 0
    """It did its work, or was asked to stop and did."""
    FAILED = 1
    """Something failed while it ran: starting it again may help."""
    MISCONFIGURED = 2
    """It cannot start with these settings or in this state: starting it again helps only after a change."""


class Misconfigured(Exception):  # noqa: N818 # it names the state that a person has to change
    """The process cannot start until somebody changes something.

    The message is one line that says what is wrong and what to do. `run_process` prints that line alone, without a
    traceback, and returns `ExitCode.MISCONFIGURED`.
    """
