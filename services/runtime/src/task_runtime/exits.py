"""How a process ends: three codes, and the exception that chooses the third."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What a process tells whoever started it."""

    OK = 0
    """It did what it was asked to, being stopped included."""
    FAILED = 1
    """Something broke while it ran: starting it again may help."""
    MISCONFIGURED = 2
    """It cannot start as it is set up: starting it again will not help until somebody changes that."""


class Misconfigured(Exception):  # noqa: N818 # a state of affairs that a person mends, said as one
    """The process cannot start as it is set up.

    The message is one clear line which says what is wrong and what to do; it is all that a person gets to see.
    `run_process` turns it into that line and `ExitCode.MISCONFIGURED`, without a traceback.
    """
