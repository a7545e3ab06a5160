"""A command line in a pseudo-terminal: typed, answered, interrupted, and what stands on the screen then."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.waiting import SECONDS

COLUMNS, LINES = 100, 10
_SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_HOME, _LEAVE = "\x1b[H", "\x1b[?1049l"
_QUESTION = "[y/N]: "


@dataclass(frozen=True)
class Typed:
    """What became of a command line: its exit code, and the lines that it left on the screen."""

    code: int
    lines: tuple[str, ...]


async def typed(line: str, environment: Mapping[str, str], folder: Path, *, live_until: str = "") -> Typed:
    """Type a line into a shell in a pseudo-terminal; a question is answered with y.

    With `live_until` the line draws over itself: once this text is there, Ctrl-C is pressed, and the last frame counts.
    """
    return await asyncio.to_thread(_type, line, environment, folder, live_until)


def _type(line: str, environment: Mapping[str, str], folder: Path, live_until: str) -> Typed:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    process = subprocess.Popen(
        ["bash", "-c", line],
        env={**environment, "TERM": "xterm"},
        cwd=folder,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        text = _read(ours, process, live_until)
        return Typed(process.wait(SECONDS), _frame(text) if live_until else _screen(text))
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        os.close(ours)


def _read(ours: int, process: subprocess.Popen[bytes], live_until: str) -> str:
    """Return all that is written until the end, which `live_until` brings about."""
    text, is_answered, is_interrupted = "", False, False
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        block = _block(ours)
        if block == b"" and process.poll() is not None:
            return text
        text += (block or b"").decode(errors="replace")
        if _QUESTION in text and not is_answered:
            os.write(ours, b"y\n")
            is_answered = True
        if live_until and not is_interrupted and live_until in _SEQUENCE.sub("", text.rpartition(_HOME)[2]):
            os.killpg(process.pid, signal.SIGINT)
            is_interrupted = True
    raise AssertionError(f"it did not end:\n{text[-2_000:]}")


def _block(ours: int) -> bytes:
    if not select.select([ours], [], [], 0.1)[0]:
        return b""
    try:
        return os.read(ours, 1 << 16)
    except OSError:  # the other end is closed
        return b""


def _screen(text: str) -> tuple[str, ...]:
    """Return the lines; of what was written over, the last."""
    lines = [line.rstrip("\r").rpartition("\r")[2] for line in text.removesuffix("\n").split("\n")] if text else []
    return tuple(_SEQUENCE.sub("", line).rstrip() for line in lines)


def _frame(text: str) -> tuple[str, ...]:
    frame = text.partition(_LEAVE)[0].rpartition(_HOME)[2]
    return tuple(line.rstrip() for line in _SEQUENCE.sub("", frame).replace("\r", "").split("\n"))
