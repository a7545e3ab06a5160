"""The application without a database: nothing listens at its address."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from task_api.parts import ApiParts

NOWHERE = "postgresql://127.0.0.1:1/tasks"


@pytest.fixture
async def parts(open_parts: Callable[..., AbstractAsyncContextManager[ApiParts]]) -> AsyncIterator[ApiParts]:
    async with open_parts(NOWHERE) as opened:
        yield opened


@pytest.fixture
async def client(
    parts: ApiParts, open_client: Callable[[ApiParts], httpx2.AsyncClient]
) -> AsyncIterator[httpx2.AsyncClient]:
    async with open_client(parts) as opened:
        yield opened


@pytest.fixture
def client_over(
    parts: ApiParts, open_client: Callable[[ApiParts], httpx2.AsyncClient]
) -> Callable[[BaseException], httpx2.AsyncClient]:
    """Open a client of an application whose store raises this error at every call."""

    class Raising:
        def __init__(self, error: BaseException) -> None:
            self.error = error

        def __getattr__(self, name: str) -> Any:
            async def call(*_: Any, **__: Any) -> None:
                raise self.error

            return call

    return lambda error: open_client(replace(parts, tasks=Raising(error)))
