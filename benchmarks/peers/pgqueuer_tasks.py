# /// script
# requires-python = ">=3.11"
# dependencies = ["pgqueuer[asyncpg]==1.6.0"]
#
# [tool.benchmark]
# title = "PgQueuer 1.6"
# pages = ["https://janbjorge.github.io/pgqueuer/getting-started/core-concepts/"]
# how = "batches of 100, durable tables; keeps no result, only a log row with the outcome"
# needs = ["postgres"]
# drained = 20000
# drained_many = 100000
# outcomes = "SELECT count(*) FROM pgqueuer_log WHERE status = 'successful'"
# finished = "SELECT job_id::text, extract(epoch FROM created) FROM pgqueuer_log WHERE status = 'successful'"
# ///
"""PgQueuer: PostgreSQL alone, LISTEN and NOTIFY."""

from collections.abc import Sequence

import asyncpg
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries

from _peer import DATABASE_URL, Peer, main, ran

BATCH = 100
"""Jobs claimed by one statement, as the figures of its documentation have it; the default is 10."""
ROWS = 1_000


class PgQueuerPeer(Peer):
    async def setup(self) -> None:
        await self.open()
        await self._queries.install()
        await self.close()

    async def open(self) -> None:
        self._connection = await asyncpg.connect(DATABASE_URL)
        self._queries = Queries(AsyncpgDriver(self._connection))

    async def one(self, number: int) -> str:
        return str((await self._queries.enqueue("noop", b"%d" % number))[0])

    async def many(self, numbers: Sequence[int]) -> None:
        for first in range(0, len(numbers), ROWS):
            some = numbers[first : first + ROWS]
            await self._queries.enqueue(["noop"] * len(some), [b"%d" % number for number in some], [0] * len(some))

    async def close(self) -> None:
        await self._connection.close()

    def work(self) -> None:
        uvloop.run(self._work())  # what `pgq run` runs; this version's command line fails with current typer

    async def _work(self) -> None:
        queue = PgQueuer(AsyncpgDriver(await asyncpg.connect(DATABASE_URL)))

        @queue.entrypoint("noop")
        async def noop(job: Job) -> None:
            ran(int(job.payload or b"0"))

        await queue.run(batch_size=BATCH)


if __name__ == "__main__":
    main(PgQueuerPeer())
