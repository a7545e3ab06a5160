# /// script
# requires-python = ">=3.11"
# dependencies = ["procrastinate==3.10.0"]
#
# [tool.benchmark]
# title = "procrastinate 3.10"
# pages = ["https://procrastinate.readthedocs.io/en/stable/howto/basics/worker.html"]
# how = "200 at once, psycopg; keeps no result, only the outcome"
# needs = ["postgres"]
# drained = 3000
# outcomes = "SELECT count(*) FROM procrastinate_jobs WHERE status = 'succeeded'"
# finished = "SELECT job_id::text, extract(epoch FROM at) FROM procrastinate_events WHERE type = 'succeeded'"
# by_default = false
# ///
"""procrastinate: PostgreSQL alone, LISTEN and NOTIFY."""

from __future__ import annotations

from collections.abc import Sequence

from procrastinate import App, PsycopgConnector

from _peer import DATABASE_URL, SLOTS, Peer, main, ran

app = App(connector=PsycopgConnector(conninfo=DATABASE_URL))


@app.task(name="noop", pass_context=False)
async def noop(number: int) -> int:
    """Do what every task does."""
    return ran(number)


class ProcrastinatePeer(Peer):
    """See the module."""

    async def setup(self) -> None:
        async with app.open_async():
            await app.schema_manager.apply_schema_async()

    async def open(self) -> None:
        await app.open_async()

    async def one(self, number: int) -> str:
        return str(await noop.defer_async(number=number))

    async def many(self, numbers: Sequence[int]) -> None:
        await noop.batch_defer_async(*({"number": number} for number in numbers))

    async def close(self) -> None:
        await app.close_async()

    async def work(self) -> None:
        async with app.open_async():
            await app.run_worker_async(concurrency=SLOTS)  # ends by SIGTERM


if __name__ == "__main__":
    main(ProcrastinatePeer())
