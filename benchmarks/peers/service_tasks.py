# /// script
# requires-python = ">=3.11"
#
# [tool.benchmark]
# title = "this service"
# pages = ["sizing.md"]
# how = "REST by task-client, batches of 1,000; quorum queues; 200 slots over all processes; results in PostgreSQL"
# needs = ["postgres", "rabbitmq"]
# drained = 20000
# drained_many = 100000
# outcomes = "SELECT count(*) FROM tasks WHERE status = 'COMPLETED'"
# finished = "SELECT id::text, extract(epoch FROM finished_at) FROM tasks WHERE status = 'COMPLETED'"
# workers = "SELECT count(DISTINCT worker_id) FROM tasks WHERE status = 'COMPLETED'"
# in_workspace = true
# is_served = true
# ///
"""The service itself: `task-api`, `task-worker` and the client, as users run them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel

from _peer import BROKER_URL, DATABASE_URL, HTTP_URL, PROCESSES, SLOTS, Peer, main, ran
from task_worker import handler


class Number(BaseModel):
    """The payload of a task."""

    number: int


@handler("noop")
async def noop(payload: Number) -> int:
    """Do what every task does."""
    return ran(payload.number)


class ServicePeer(Peer):
    def setup(self) -> None:
        subprocess.run([_command("task-migrate")], env=_environment(), check=True, stdout=subprocess.DEVNULL)

    def open(self) -> None:
        from task_client import AsyncTaskClient  # not in the worker, which loads this file for its handler

        self._client = AsyncTaskClient(HTTP_URL)

    async def one(self, number: int) -> str:
        return str((await self._client.create(name="bench", type="noop", payload={"number": number})).id)

    async def many(self, numbers: Sequence[int]) -> None:
        await self._client.create_many(
            {"name": "bench", "type": "noop", "payload": {"number": number}} for number in numbers
        )

    async def close(self) -> None:
        await self._client.aclose()

    def work(self) -> None:
        several = ("--processes", str(PROCESSES)) if PROCESSES > 1 else ()  # which older commits do not know
        _become("task-worker", "--handlers", __file__, "--concurrency", str(SLOTS), *several)

    def serve(self) -> None:
        _become("task-api", "--port", HTTP_URL.rpartition(":")[2])


def _command(name: str) -> str:
    return str(Path(sys.executable).parent / name)


def _become(name: str, *words: str) -> None:
    os.execve(_command(name), [name, *words], _environment())


def _environment() -> dict[str, str]:
    others = {name: value for name, value in os.environ.items() if not name.startswith("TASK_")}
    folder = str(Path(__file__).parent)
    return {**others, "TASK_DATABASE_URL": DATABASE_URL, "TASK_BROKER_URL": BROKER_URL, "PYTHONPATH": folder}


if __name__ == "__main__":
    main(ServicePeer())
