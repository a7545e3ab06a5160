"""Starts a server process and waits until it answers.

**Invariants**
- Either a server that answers is returned, or no process is left; also if the caller is cancelled.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import psutil

from task_store.embedded._programs import PROGRAM_ENVIRONMENT
from task_store.embedded._server import Server
from task_store.embedded._server_log import open_log
from task_store.embedded._timings import USUAL_TIMINGS, ServerTimings
from task_store.embedded.errors import ServerDidNotStartError

_START_SECONDS = 300.0
"""Long enough for a server that was killed and replays its log from a slow disk."""
_REMAINS_SECONDS = 10.0
"""How long processes of a server that was killed may still hold its shared memory."""
_REMAINS_PAUSE_SECONDS = 0.2
_LOG_LINES = 8


async def launch(command: Sequence[str], log: Path, url: str, timings: ServerTimings = USUAL_TIMINGS) -> Server:
    """Run `command`, with its output appended to `log`, and return the server once it accepts a connection to `url`.

    Raises:
        OSError: the log cannot be opened.
        ServerDidNotStartError: it ended, refused the connection, or has not answered in five minutes.

    """
    clock = asyncio.get_running_loop().time
    give_up_at = clock() + _REMAINS_SECONDS
    while True:
        try:
            return await _attempt(command, log, url, timings)
        except ServerDidNotStartError as error:
            if clock() > give_up_at or not _blames_remains(error):
                raise
        await asyncio.sleep(_REMAINS_PAUSE_SECONDS)


async def _attempt(command: Sequence[str], log: Path, url: str, timings: ServerTimings) -> Server:
    with open_log(log) as output:
        log_begin = output.seek(0, os.SEEK_END)
        server = Server(_spawn(command, output), timings)
        has_answered = False
        try:
            has_answered = await server.answers(url, _START_SECONDS)
        finally:
            if not has_answered:
                await server.stop(immediate=True)
        if not has_answered:
            raise ServerDidNotStartError("postgres", _tail(output, log_begin))
    return server


def _blames_remains(error: ServerDidNotStartError) -> bool:
    return any("still in use" in line or "already exists" in line for line in error.log_lines)


def _spawn(command: Sequence[str], output: BinaryIO) -> psutil.Popen:
    return psutil.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=PROGRAM_ENVIRONMENT,
        cwd="/",
        start_new_session=True,
    )


def _tail(log: BinaryIO, begin: int) -> tuple[str, ...]:
    log.seek(begin)
    return tuple(log.read().decode(errors="replace").splitlines()[-_LOG_LINES:])
