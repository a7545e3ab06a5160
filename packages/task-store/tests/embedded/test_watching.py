from __future__ import annotations

import asyncio
import logging
import signal
import threading
from pathlib import Path
from types import SimpleNamespace

import asyncpg
import psutil
import pytest

from task_store.embedded import EmbeddedPostgres, ServerTimings

pytestmark = pytest.mark.private_servers


async def until_it_answers(url: str) -> asyncpg.Connection:
    async with asyncio.timeout(20):
        while True:
            try:
                return await asyncpg.connect(url, timeout=5)
            except (OSError, asyncpg.PostgresError):
                await asyncio.sleep(0.01)


async def test_server_that_is_killed_is_started_again_on_the_same_url(
    postgres: EmbeddedPostgres, data_dir: Path, caplog: pytest.LogCaptureFixture, look: SimpleNamespace
) -> None:
    watching = asyncio.create_task(postgres.watch())
    before = await asyncpg.connect(postgres.url)
    await before.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    dead = look.postmaster_of(data_dir)
    dead.send_signal(signal.SIGKILL)

    connection = await until_it_answers(postgres.url)
    answer = await connection.fetchval("SELECT answer FROM kept")

    await connection.close()
    before.terminate()
    assert answer == 42
    assert look.postmaster_of(data_dir).pid != dead.pid
    assert "embedded_postgres_died" in caplog.messages
    await postgres.stop()
    async with asyncio.timeout(5):
        await watching


async def test_restart_waits_for_the_last_query_of_the_server_that_was_killed(
    postgres: EmbeddedPostgres, data_dir: Path, look: SimpleNamespace
) -> None:
    busy, other = await asyncpg.connect(postgres.url), await asyncpg.connect(postgres.url)
    backend = psutil.Process(busy.get_server_pid())
    # One message, so that it is never active and then idle again: an idle server process ends with its postmaster.
    query = asyncio.create_task(
        busy.execute("SELECT count(*) FROM generate_series(1, 99999) a, generate_series(1, 99999)")
    )
    is_active = "SELECT state = 'active' AND query ~ 'generate' FROM pg_stat_activity WHERE pid = $1"
    async with asyncio.timeout(20):
        while not await other.fetchval(is_active, backend.pid):
            pass
    other.terminate()
    watching = asyncio.create_task(postgres.watch())
    look.postmaster_of(data_dir).kill()
    await look.eventually(lambda: "still in use" in (data_dir / "postgres.log").read_text())

    backend.kill()

    connection = await until_it_answers(postgres.url)
    await connection.close()
    with pytest.raises(asyncpg.ConnectionDoesNotExistError):
        await query
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching


async def test_watch_ends_with_stop_and_revives_nothing(data_dir: Path, look: SimpleNamespace) -> None:
    postgres = EmbeddedPostgres(data_dir)
    await postgres.start()
    watching = asyncio.create_task(postgres.watch())
    await asyncio.sleep(0)

    await postgres.stop()
    async with asyncio.timeout(5):
        await watching

    assert look.servers_on(data_dir) == []


async def test_watch_tries_again_when_the_server_cannot_be_started(
    postgres: EmbeddedPostgres, data_dir: Path, caplog: pytest.LogCaptureFixture, look: SimpleNamespace
) -> None:
    caplog.set_level(logging.INFO)
    watching = asyncio.create_task(postgres.watch())
    configuration = data_dir / "postgres" / "postgresql.conf"
    good = configuration.read_text()
    configuration.write_text("max_connections = many\n")
    look.postmaster_of(data_dir).send_signal(signal.SIGQUIT)
    await look.eventually(lambda: "embedded_postgres_not_revived" in caplog.messages)

    configuration.write_text(good)

    connection = await until_it_answers(postgres.url)
    await connection.close()
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching


async def test_log_of_a_running_server_stays_small_and_keeps_the_newest(data_dir: Path, look: SimpleNamespace) -> None:
    log, old = data_dir / "postgres.log", data_dir / "postgres.log.old"
    write = "DO $$ BEGIN FOR n IN 1..%s LOOP RAISE LOG '%s %%', repeat('x', 1 << 20); END LOOP; END $$"
    async with EmbeddedPostgres(data_dir, timings=ServerTimings(log_check_seconds=0.05)) as postgres:
        watching = asyncio.create_task(postgres.watch())
        connection = await asyncpg.connect(postgres.url)
        for turn in range(3):
            await connection.execute(write % (12, f"turn {turn}"))
            await look.eventually(lambda: log.stat().st_size <= 5 << 20)
            assert old.stat().st_size == 5 << 20
            assert f"turn {turn} x".encode() in old.read_bytes()
        await connection.execute(write % (1, "the last"))
        await connection.close()
    async with asyncio.timeout(5):
        await watching

    kept = old.read_bytes() + log.read_bytes()
    assert b"the last x" in kept
    assert b"\x00" not in kept
    assert look.names_in(data_dir) == ["postgres", "postgres.log", "postgres.log.old", "service.lock"]


async def test_start_that_fails_while_the_log_is_long_still_says_why(
    postgres: EmbeddedPostgres, data_dir: Path, caplog: pytest.LogCaptureFixture, look: SimpleNamespace
) -> None:
    watching = asyncio.create_task(postgres.watch())
    configuration = data_dir / "postgres" / "postgresql.conf"
    good = configuration.read_text()
    with (data_dir / "postgres.log").open("ab") as file:
        file.truncate(11 << 20)
    configuration.write_text("max_connections = many\n")
    look.postmaster_of(data_dir).send_signal(signal.SIGQUIT)
    await look.eventually(lambda: "embedded_postgres_not_revived" in caplog.messages)

    failed = next(record for record in caplog.records if record.message == "embedded_postgres_not_revived")
    assert "max_connections" in failed.reason  # type: ignore[attr-defined] # an `extra` of the line
    configuration.write_text(good)
    connection = await until_it_answers(postgres.url)
    await connection.close()
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching


async def test_server_is_stopped_while_the_event_loop_hangs(
    postgres: EmbeddedPostgres, data_dir: Path, look: SimpleNamespace
) -> None:
    watching = asyncio.create_task(postgres.watch())
    await asyncio.sleep(0)  # it begins
    server = look.postmaster_of(data_dir)
    stopping = threading.Thread(target=postgres.stop_now)

    stopping.start()
    stopping.join(20)  # as if it hung: nothing else happens on the loop meanwhile

    assert look.has_ended(server)
    assert "database system is shut down" in (data_dir / "postgres.log").read_text()
    async with asyncio.timeout(5):
        await watching
    assert not look.servers_on(data_dir)
