"""What all suites share: an asynchronous test that hangs fails, and shows where it and all other tasks stand."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

TEST_SECONDS = 240.0
"""How long an asynchronous test may take; less than `faulthandler_timeout`, which is there for all others."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each asynchronous test its deadline."""
    for item in items:
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            item.obj = within_deadline(item.obj)


def within_deadline(test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """Return the test, which fails where it waits when its time is over."""

    @functools.wraps(test)
    async def run(*args: Any, **fixtures: Any) -> None:
        try:
            async with asyncio.timeout(TEST_SECONDS) as deadline:
                await test(*args, **fixtures)
        finally:
            if deadline.expired():
                for task in asyncio.all_tasks() - {asyncio.current_task()}:
                    task.print_stack()

    return run
