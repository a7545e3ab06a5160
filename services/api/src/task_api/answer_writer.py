"""Writes the head of an answer together with what comes after it: one system call and one packet in place of two.

uvicorn writes the two apart, and each write may wake the caller's process (docs/decisions/0024-rest-path.md).
"""

from __future__ import annotations

import asyncio

_JOINED_BYTES = 64 << 10
"""A larger part is written by itself: joining it to the head would copy it."""


class AnswerWriter:
    """What one request's answer is written to, in the place of the transport.

    The first part that is written is held until the next one comes, or until the event loop has turned: a stream may
    have nothing to say after its head. What is written later goes to the transport at once.
    """

    __slots__ = ("_held", "_is_begun", "_loop", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held = b""
        self._is_begun = False

    def write(self, data: bytes) -> None:
        """Write a part of the answer."""
        if not self._is_begun:
            self._held, self._is_begun = data, True
            self._loop.call_soon(self.flush)
            return
        if self._held and len(data) <= _JOINED_BYTES:
            data, self._held = self._held + data, b""
        self.flush()
        self._transport.write(data)

    def flush(self) -> None:
        """Write what is held; where nothing is, nothing happens."""
        if self._held:
            held, self._held = self._held, b""
            self._transport.write(held)

    def close(self) -> None:
        """Close the connection once all has been written."""
        self.flush()
        self._transport.close()

    def is_closing(self) -> bool:
        """Return whether the connection is closed, or being closed."""
        return self._transport.is_closing()
