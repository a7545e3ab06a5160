"""Reads streams of events in asyncio tasks, for the asynchronous client.

**Invariants**: those of `_streams`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2

from task_client._http import events_in, is_event_stream
from task_client._steps import StreamNews
from task_client._streams import NEWS_MAX


class AsyncStreams:
    """The open streams of one flow."""

    def __init__(self, http: httpx2.AsyncClient) -> None:
        self._http = http
        self._news: asyncio.Queue[StreamNews] = asyncio.Queue(NEWS_MAX)
        self._readers: dict[int, asyncio.Task[None]] = {}

    async def listen(self, stream: int, options: dict[str, Any]) -> None:
        """Open a stream, in the place of the one of this number."""
        await self.unlisten(stream)
        self._readers[stream] = asyncio.create_task(self._run(stream, options), name=f"task-client-stream-{stream}")

    async def hear(self, seconds: float) -> StreamNews | None:
        """Return what an open stream says next, within some seconds; 0 waits for nothing."""
        while True:
            try:
                async with asyncio.timeout(seconds):
                    news = self._news.get_nowait() if not self._news.empty() else await self._news.get()
            except TimeoutError:
                return None
            if news.stream in self._readers:
                return news

    async def unlisten(self, stream: int) -> None:
        """Close a stream, if it is open, and forget what it has said."""
        reader = self._readers.pop(stream, None)
        if reader is None:
            return
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)
        others = [news for news in self._taken() if news.stream != stream]
        for news in others:
            self._news.put_nowait(news)

    async def aclose(self) -> None:
        """Close all streams."""
        readers, self._readers = [*self._readers.values()], {}
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)

    def _taken(self) -> list[StreamNews]:
        return [self._news.get_nowait() for _ in range(self._news.qsize())]

    async def _run(self, stream: int, options: dict[str, Any]) -> None:
        try:
            async with self._http.stream(**options) as response:
                last = await self._read(stream, response)
        except httpx2.RequestError as error:
            last = StreamNews(stream, is_over=True, error=error)
        except Exception as error:  # noqa: BLE001 # nobody awaits this task: whatever ends it is told
            last = StreamNews(stream, is_over=True, error=httpx2.ReadError(str(error) or type(error).__name__))
        await self._news.put(last)

    async def _read(self, stream: int, response: httpx2.Response) -> StreamNews:
        if not is_event_stream(response):
            await response.aread()
            return StreamNews(stream, is_over=True, response=response)
        async for event in events_in(response, self._noted(stream, response)):
            await self._news.put(StreamNews(stream, event))
        return StreamNews(stream, is_over=True)

    async def _noted(self, stream: int, response: httpx2.Response) -> AsyncIterator[bytes]:
        async for chunk in response.aiter_bytes():
            await self._news.put(StreamNews(stream))
            yield chunk
