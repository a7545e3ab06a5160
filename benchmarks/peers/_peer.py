"""What every peer is asked to do, and how: a peer is a file beside this one that fills in `Peer`.

    python celery_tasks.py setup                 make its tables and queues
    python celery_tasks.py one NUMBERS           enqueue tasks one after the other
    python celery_tasks.py many NUMBERS          enqueue them as quickly as its documentation knows how
    python celery_tasks.py paced NUMBERS RATE    enqueue so many a second
    python celery_tasks.py work                  be a worker, until SIGTERM
    python celery_tasks.py serve                 be its server, if it has one, until SIGTERM

NUMBERS is `first:count`: each task has a number. An enqueue prints one JSON object. This file runs in the environment
of each peer, so it imports the standard library only.

Variables: BENCH_DATABASE_URL, BENCH_BROKER_URL, BENCH_REDIS_URL, BENCH_HTTP_URL, BENCH_PROCESSES (of a worker),
BENCH_SLOTS (how many tasks each of them runs at once), BENCH_JOURNAL (the file in which `ran` writes when a task began;
none, nothing is written).
"""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

DATABASE_URL = os.environ.get("BENCH_DATABASE_URL", "")
BROKER_URL = os.environ.get("BENCH_BROKER_URL", "")
REDIS_URL = os.environ.get("BENCH_REDIS_URL", "")
HTTP_URL = os.environ.get("BENCH_HTTP_URL", "")
PROCESSES = int(os.environ.get("BENCH_PROCESSES", "1"))
SLOTS = int(os.environ.get("BENCH_SLOTS", "200"))

_JOURNAL = os.environ.get("BENCH_JOURNAL")
_THREADS = 8
"""How many threads enqueue for `paced` where a library blocks: one alone would not keep the pace."""


class Peer:
    """One system. Each call may be a plain method or a coroutine."""

    def setup(self) -> Any:
        """Make its tables and queues."""

    def open(self) -> Any:
        """Connect, to enqueue."""

    def one(self, number: int) -> Any:
        """Enqueue one task durably, and return its id."""
        raise NotImplementedError

    def many(self, numbers: Sequence[int]) -> Any:
        """Enqueue tasks durably by the quickest call that its documentation has for it."""
        raise NotImplementedError

    def close(self) -> Any:
        """Close what `open` has opened."""

    def work(self) -> Any:
        """Be a worker until SIGTERM."""
        raise NotImplementedError

    def serve(self) -> Any:
        """Be its server until SIGTERM."""
        raise NotImplementedError


def ran(number: int) -> int:
    """Do what every task does: nothing, but for a line in the journal if there is one. Return its number."""
    if _JOURNAL is not None:
        journal = os.open(_JOURNAL, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(journal, f"{number} {time.time():.6f}\n".encode())  # by one write, so that processes may share it
        os.close(journal)
    return number


def main(peer: Peer) -> None:
    """Do what the command line asks of this peer."""
    command, *words = sys.argv[1:]
    if command in {"work", "serve"}:
        _settle(getattr(peer, command)())
        return
    if command == "setup":
        _settle(peer.setup())
        return
    first, count = map(int, words[0].split(":"))
    numbers = range(first, first + count)
    enqueue = {"one": _one_by_one, "many": _many, "paced": _paced}[command]
    print(json.dumps(asyncio.run(_enqueue(peer, enqueue, numbers, *map(float, words[1:])))))


def _settle(answer: Any) -> None:
    if inspect.isawaitable(answer):
        asyncio.run(_wait_for(answer))


async def _wait_for(answer: Awaitable[Any]) -> Any:
    return await answer


async def _enqueue(peer: Peer, enqueue: Callable[..., Awaitable[Any]], numbers: range, *words: float) -> Any:
    await _called(peer.open)
    try:
        return await enqueue(peer, numbers, *words)
    finally:
        await _called(peer.close)


async def _called(method: Callable[..., Any], *words: Any) -> Any:
    answer = method(*words)
    return await answer if inspect.isawaitable(answer) else answer


async def _one_by_one(peer: Peer, numbers: range) -> dict[str, Any]:
    began = time.perf_counter()
    for number in numbers:
        answer = peer.one(number)
        if inspect.isawaitable(answer):
            await answer
    return {"seconds": time.perf_counter() - began}


async def _many(peer: Peer, numbers: range) -> dict[str, Any]:
    began, epoch = time.perf_counter(), time.time()
    await _called(peer.many, numbers)
    return {"seconds": time.perf_counter() - began, "began": epoch}


async def _paced(peer: Peer, numbers: range, rate: float) -> dict[str, Any]:
    """Return when the call for each was made and when it was answered, in seconds since 1970, and its id."""
    called: dict[int, float] = {}
    accepted: dict[int, float] = {}
    ids: dict[int, str] = {}
    loop = asyncio.get_running_loop()

    async def enqueue(number: int) -> None:
        called[number] = time.time()
        if inspect.iscoroutinefunction(peer.one):
            ids[number] = str(await peer.one(number))
            accepted[number] = time.time()
        else:
            ids[number], accepted[number] = await loop.run_in_executor(threads, one_blocking, number)

    def one_blocking(number: int) -> tuple[str, float]:
        return str(peer.one(number)), time.time()

    with ThreadPoolExecutor(_THREADS) as threads:
        began = loop.time()
        async with asyncio.TaskGroup() as enqueued:
            for place, number in enumerate(numbers):
                await asyncio.sleep(began + place / rate - loop.time())
                enqueued.create_task(enqueue(number))
    return {"called": called, "accepted": accepted, "ids": ids}
