"""One connection of the server: uvicorn's protocol over httptools, with the bounds that uvicorn leaves out.

uvicorn 0.54 bounds neither the size of a head nor the time to its first byte, and closes no connection whose caller
does not read. What it does for a whole request it goes on doing.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from task_api.answer_writer import AnswerWriter
from task_api.connections import Connections
from task_api.problems import make_problem
from task_api.unread_bodies import DROP_BYTES, DROP_SECONDS
from task_contracts import PROBLEM_MEDIA_TYPE, ProblemCode

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application


class BoundedProtocol(HttpToolsProtocol):
    """Reads heads up to a size and within a time, and closes a connection whose caller says or reads nothing.

    A request that cannot be read is answered with a problem document, after the requests before it. What the caller
    goes on sending is dropped for a while, since many read an answer only after they have sent all they have.
    """

    server_state: Connections

    _loose_bytes = 0
    """Received since the last head was complete or the last piece of a body came: never more than a head may have."""
    _is_refused = False
    """Nothing more is read: the caller has sent what is no request."""
    _dropped_bytes = 0
    unsent_bytes = 0
    """Of answers that the caller had not read at the last check."""
    stuck_since = 0.0
    """The time since which these have not changed."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in uvicorn
        """Begin to wait for a head."""
        super().connection_made(transport)
        self.server_state.begin_waiting(transport)
        self.server_state.make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the request under way, if any."""
        self.server_state.end_waiting(self.transport)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse `data` in pieces, each as long as a head may still be."""
        bounds = self.server_state.bounds
        if not self._loose_bytes and not self._has_request:
            self.server_state.begin_waiting(self.transport)  # a head has its time from its first byte on
        while data and not self._is_refused:
            room = bounds.head_bytes - self._loose_bytes
            piece, data = data[:room], data[room:]
            self._loose_bytes += len(piece)
            super().data_received(piece)
            if self._loose_bytes >= bounds.head_bytes or len(self.headers or ()) > bounds.headers:
                self._refuse(431, "the head of the request is too large")
        if self._is_refused:
            self._drop(len(data))

    def on_headers_complete(self) -> None:
        """Begin to answer the request."""
        if len(self.headers) > self.server_state.bounds.headers:
            raise ValueError  # ends the parsing; `data_received` says why
        self._loose_bytes = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Hand a piece of the body over."""
        self._loose_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note that the whole request has arrived."""
        self._loose_bytes = 0
        self.server_state.end_waiting(self.transport)
        super().on_message_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        if cycle.scope["method"] != "HEAD":  # nothing comes after its head
            cycle.transport = AnswerWriter(self.transport, self.loop)  # type: ignore[assignment] # all of one it uses
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """Begin to wait for the next head, unless another request is there already."""
        super().on_response_complete()
        if not self._has_request:
            self.server_state.begin_waiting(self.transport)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP; uvicorn's parser has ended."""
        del msg
        if len(self.headers or ()) <= self.server_state.bounds.headers:
            self._refuse(400, "this is not a valid HTTP request")

    def check(self, now: float) -> None:
        """Close the connection if its caller keeps it waiting; called about once a second, at `now` in seconds."""
        unsent_bytes = self.transport.get_write_buffer_size()
        if unsent_bytes != self.unsent_bytes:
            self.unsent_bytes, self.stuck_since = unsent_bytes, now
        elif unsent_bytes and now - self.stuck_since >= self.server_state.bounds.peer_seconds:
            self.transport.abort()
        elif not self._has_request and self.server_state.is_overdue(self.transport):
            if self._loose_bytes:
                self._refuse(408, "the head of the request did not arrive in time")
            elif self.cycle is None:  # else uvicorn's own, longer time for a connection that is kept
                self.transport.close()

    @property
    def _has_request(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete  # type: ignore[redundant-expr] # None at first

    def _refuse(self, status: int, detail: str) -> None:
        if self._is_refused or self.transport.is_closing():
            return
        self._is_refused = True
        self._unset_keepalive_if_required()
        if self.pipeline or (self._has_request and (self.cycle.response_started or not self.cycle.more_body)):
            self.cycle.keep_alive = False  # an answer to an earlier request is owed: it is the last
            return
        if self._has_request:  # it is broken in the middle of its body: this is its answer
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        body = make_problem(ProblemCode.VALIDATION, detail, status=status)
        self.transport.write(_answer(status, body.title, body.model_dump_json()))
        self.transport.write_eof()
        self.loop.call_later(DROP_SECONDS, self.transport.close)

    def _drop(self, size_bytes: int) -> None:
        self._dropped_bytes += size_bytes
        if self._dropped_bytes > DROP_BYTES:
            self.transport.close()


def _answer(status: int, title: str, body: str) -> bytes:
    head = f"HTTP/1.1 {status} {title}\r\ncontent-type: {PROBLEM_MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\n"
    return f"{head}connection: close\r\n\r\n{body}".encode()
