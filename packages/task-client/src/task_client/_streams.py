"""Reads streams of events in threads, for the synchronous client.

**Invariants**: what a closed stream still says is dropped. A reader waits while its news are not heard, so a caller
that is slow costs no more memory than `NEWS_MAX` events. A reader's thread ends with its stream.
"""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx2

from task_client._http import events_in, is_event_stream
from task_client._steps import StreamNews

NEWS_MAX = 1_000
_LOOK_SECONDS = 0.2
"""How long a reader that waits for room takes to notice that it was closed."""


class Streams:
    """The open streams of one flow."""

    def __init__(self, http: httpx2.Client) -> None:
        self._http = http
        self._news: queue.Queue[tuple[_Reader, StreamNews]] = queue.Queue(NEWS_MAX)
        self._readers: dict[int, _Reader] = {}

    def listen(self, stream: int, options: dict[str, Any]) -> None:
        """Open a stream, in the place of the one of this number."""
        self.unlisten(stream)
        self._readers[stream] = reader = _Reader(self._http, stream, options, self._news)
        reader.start()

    def hear(self, seconds: float) -> StreamNews | None:
        """Return what an open stream says next, within some seconds; 0 waits for nothing."""
        while True:
            try:
                reader, news = self._news.get(timeout=seconds) if seconds > 0 else self._news.get_nowait()
            except queue.Empty:
                return None
            if self._readers.get(news.stream) is reader:
                return news

    def unlisten(self, stream: int) -> None:
        """Close a stream, if it is open."""
        if reader := self._readers.pop(stream, None):
            reader.close()

    def close(self) -> None:
        """Close all streams."""
        for stream in list(self._readers):
            self.unlisten(stream)


class _Reader(threading.Thread):
    def __init__(
        self,
        http: httpx2.Client,
        stream: int,
        options: dict[str, Any],
        news: queue.Queue[tuple[_Reader, StreamNews]],
    ) -> None:
        super().__init__(name=f"task-client-stream-{stream}", daemon=True)
        self._http, self._stream, self._options, self._news = http, stream, options, news
        self._is_closed = threading.Event()
        self._response: httpx2.Response | None = None

    def run(self) -> None:
        try:
            with self._http.stream(**self._options) as response:
                self._response = response
                if self._is_closed.is_set():
                    return
                last = self._read(response)
        except httpx2.RequestError as error:
            last = StreamNews(self._stream, is_over=True, error=error)
        except Exception as error:  # noqa: BLE001 # closed by another thread, it may end in any way; else it is told
            last = StreamNews(self._stream, is_over=True, error=httpx2.ReadError(str(error) or type(error).__name__))
        self._put(last)

    def close(self) -> None:
        """Let the thread end: a read that waits on the network is woken."""
        self._is_closed.set()
        if self._response is not None:
            _wake(self._response)

    def _read(self, response: httpx2.Response) -> StreamNews:
        if not is_event_stream(response):
            response.read()
            return StreamNews(self._stream, is_over=True, response=response)
        for event in events_in(response, self._noted(response)):
            self._put(StreamNews(self._stream, event))
        return StreamNews(self._stream, is_over=True)

    def _noted(self, response: httpx2.Response) -> Iterator[bytes]:
        for chunk in response.iter_bytes():
            self._put(StreamNews(self._stream))
            if self._is_closed.is_set():
                return
            yield chunk

    def _put(self, news: StreamNews) -> None:
        while not self._is_closed.is_set():
            with suppress(queue.Full):
                self._news.put((self, news), timeout=_LOOK_SECONDS)
                return


def _wake(response: httpx2.Response) -> None:
    network = response.extensions.get("network_stream")
    connection = None if network is None else network.get_extra_info("socket")
    if connection is None:
        response.close()  # a transport of a test, or of the caller
        return
    with suppress(OSError):  # it is closed already
        connection.shutdown(socket.SHUT_RDWR)
