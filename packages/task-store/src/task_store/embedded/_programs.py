"""Running one of PostgreSQL's programs to its end: initdb, pg_dump, pg_restore.

**Invariants**
- A program that is waited for no more, because its time is over or its caller is cancelled, is killed.
- It has a session of its own: Ctrl-C reaches us, and we end it.
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
"""Nothing of ours: PG* variables would redirect the program, and the service's secrets are none of its business."""

_LINES = 5


async def run_program(
    binaries: PostgresBinaries,
    name: str,
    *arguments: str,
    prefix: Sequence[str] = (),
    output: int = DEVNULL,
    seconds: float | None = None,
) -> bytes:
    """Run a program to its end and return what it wrote, which is nothing unless `output` is PIPE.

    Args:
        binaries: where the program is.
        name: such as "pg_dump".
        arguments: its arguments.
        prefix: what stands before the command, to run it as another account.
        output: where its standard output goes, as a descriptor or a constant of `subprocess`.
        seconds: how long it may take; None for what takes as long as there is data.

    Raises:
        ProgramFailedError: it failed, was not there, or took too long.

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
            with suppress(ProcessLookupError):  # ended, and not yet known to have
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if process.returncode:
        raise ProgramFailedError(name, _reasons(name, complaints.decode(errors="replace").splitlines()))
    return written or b""


def _reasons(name: str, lines: list[str]) -> tuple[str, ...]:
    """Return what is worth showing: around the errors there may be statements and rows."""
    mark = f"{name}: error: "
    errors = [line.removeprefix(mark) for line in lines if line.startswith(mark)]
    return tuple((errors or lines)[-_LINES:])
