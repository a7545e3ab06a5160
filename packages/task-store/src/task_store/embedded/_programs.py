"""Runs one of PostgreSQL's programs to its end: initdb, pg_dump, pg_restore.

**Invariants**
- A program that takes too long, or whose caller is cancelled, is killed.
- It has a session of its own: Ctrl-C reaches only this process, which then ends the program.
"""

from __future__ import annotations

import asyncio
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Sequence
from contextlib import suppress

from task_store.embedded._binaries import PostgresBinaries
from task_store.embedded.errors import ProgramFailedError

PROGRAM_ENVIRONMENT = {"LC_ALL": "C", "PATH": os.defpath}
"""The whole environment of a program. PG* variables would redirect it, and the service's secrets must not reach it."""

_LINES = 5


async def run_program(
    binaries: PostgresBinaries,
    name: str,
    *arguments: str,
    prefix: Sequence[str] = (),
    output: int = DEVNULL,
    seconds: float | None = None,
) -> bytes:
    """Run a program to its end and return what it wrote; empty unless `output` is PIPE.

    Args:
        binaries: where the program is.
        name: the program, such as "pg_dump".
        arguments: its arguments.
        prefix: words before the command that run it as another account.
        output: where its standard output goes: a descriptor or a constant of `subprocess`.
        seconds: how long it may take; None for no limit.

    Raises:
        ProgramFailedError: it failed, does not exist, or took too long.

    """
    try:
        process = await asyncio.create_subprocess_exec(
            *(*prefix, binaries.program(name), *arguments),
            stdin=DEVNULL,
            stdout=output,
            stderr=PIPE,
            env=PROGRAM_ENVIRONMENT,
            cwd="/",
            start_new_session=True,
        )
    except OSError as error:
        raise ProgramFailedError(name, (str(error),)) from error
    try:
        async with asyncio.timeout(seconds):
            written, complaints = await process.communicate()
    except TimeoutError as error:
        raise ProgramFailedError(name, ()) from error
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):  # it has ended, and we had not noticed
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if process.returncode:
        raise ProgramFailedError(name, _reasons(name, complaints.decode(errors="replace").splitlines()))
    return written or b""


def _reasons(name: str, lines: list[str]) -> tuple[str, ...]:
    """Return the error lines if there are any: other lines may contain statements and rows."""
    mark = f"{name}: error: "
    errors = [line.removeprefix(mark) for line in lines if line.startswith(mark)]
    return tuple((errors or lines)[-_LINES:])
