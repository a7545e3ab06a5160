# /// script
# requires-python = ">=3.12"
# dependencies = ["fronta==0.6.0"]
#
# [tool.benchmark]
# title = "fronta 0.6"
# pages = ["https://github.com/dreo/fronta#quick-start", "https://github.com/dreo/fronta/blob/main/REFERENCE.md"]
# how = "256 at once (the default is 10), log level WARNING; results in PostgreSQL"
# needs = ["postgres"]
# postgres_min = 16
# drained = 20000
# outcomes = "SELECT count(*) FROM fronta.tasks WHERE state = 'succeeded'"
# finished = "SELECT id::text, extract(epoch FROM finished_at) FROM fronta.tasks WHERE state = 'succeeded'"
# ///
"""fronta: PostgreSQL alone."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _peer import DATABASE_URL, Peer, main, ran

os.environ["FRONTA_DSN"] = DATABASE_URL
os.environ["FRONTA_CONCURRENCY"] = "256"
os.environ["LOG_LEVEL_OURS"] = "WARNING"  # by default it writes four lines a task

import fronta  # after its settings
from pydantic import BaseModel  # beside it


class Number(BaseModel):
    """The input of a task."""

    number: int


class Ran(BaseModel):
    """The result of a task."""

    number: int


@fronta.task("noop", input=Number)
async def noop(context: fronta.Context[Any], job: Number) -> dict[str, int]:
    """Do what every task does."""
    return {"number": ran(job.number)}


worker = fronta.Worker([noop])


class FrontaPeer(Peer):
    """See the module."""

    def setup(self) -> None:
        os.spawnv(os.P_WAIT, _program(), [_program(), "db", "init"])

    async def open(self) -> None:
        self._pool = await fronta.open_pool()

    async def one(self, number: int) -> str:
        return str(await noop.enqueue(Number(number=number)))

    async def many(self, numbers: Sequence[int]) -> None:
        async with self._pool.connection() as connection, connection.transaction():
            for number in numbers:  # it has no bulk call; one transaction is the quickest that its face allows
                await noop.enqueue(Number(number=number), conn=connection)

    async def close(self) -> None:
        await fronta.close_pool()

    def work(self) -> None:
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
        os.execve(_program(), [_program(), "worker", "fronta_tasks:worker"], environment)


def _program() -> str:
    return str(Path(sys.executable).parent / "fronta")


if __name__ == "__main__":
    main(FrontaPeer())
