"""A fixture that runs each test of a client with both clients."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import httpx2
import pytest

from task_client import AsyncTaskClient, RepeatPolicy, TaskClient
from task_contracts import BackOff

Answer = Callable[[httpx2.Request], httpx2.Response]
A_BASE_URL = "http://service.test"
SOON = RepeatPolicy(back_off=BackOff(first_seconds=0.001, longest_seconds=0.002))


class Talk:
    """A client of either kind: its methods are awaited, its lists are collected."""

    def __init__(self, client: TaskClient | AsyncTaskClient) -> None:
        self.client = client

    async def __call__(self, method: str, *args: Any, **options: Any) -> Any:
        result = getattr(self.client, method)(*args, **options)
        return await result if inspect.isawaitable(result) else result

    async def take(self, count: int | None = None, **filters: Any) -> list[Any]:
        """Return the first `count` tasks of `list`, or all of them."""
        taken: list[Any] = []
        tasks = self.client.list(**filters)
        if isinstance(tasks, AsyncIterator):
            while count is None or len(taken) < count:
                try:
                    taken.append(await anext(tasks))
                except StopAsyncIteration:
                    break
            await tasks.aclose()  # type: ignore[attr-defined] # it is an asynchronous generator
            return taken
        while count is None or len(taken) < count:
            try:
                taken.append(next(tasks))
            except StopIteration:
                break
        return taken

    async def close(self) -> None:
        closed = self.client.close() if isinstance(self.client, TaskClient) else self.client.aclose()
        if closed is not None:
            await closed


@pytest.fixture(params=[TaskClient, AsyncTaskClient], ids=["sync", "async"])
async def connect(request: pytest.FixtureRequest) -> AsyncIterator[Callable[..., Talk]]:
    """Return what makes a client: `connect(base_url, **options)`, or `connect(answer=...)` without a network."""
    async with AsyncExitStack() as stack:

        def make(base_url: str = A_BASE_URL, *, answer: Answer | None = None, **options: Any) -> Talk:
            if answer is not None:
                options["transport"] = httpx2.MockTransport(answer)
            talk = Talk(request.param(base_url, repeats=SOON, **options))
            stack.push_async_callback(talk.close)
            return talk

        yield make
