from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import asyncpg
import psutil
import pytest

from task_store.embedded import all_binaries
from task_store.testing import PrivatePostgres

pytestmark = pytest.mark.private_servers

ORPHAN = """
import asyncio, os
from task_store.testing import PrivatePostgres

async def main():
    server = PrivatePostgres()
    await server.start()
    print(server.pid, server._data_dir.path, flush=True)
    os.kill(os.getpid(), 9)

asyncio.run(main())
"""


async def test_server_keeps_data_and_url_when_it_is_stopped_and_started(private: PrivatePostgres) -> None:
    url = private.url()
    await execute(url, "CREATE TABLE kept AS SELECT 1 AS count")
    for immediate in (False, True):
        await private.stop(immediate=immediate)
        assert private.pid is None
        with pytest.raises(OSError, match=r"[Cc]onnect"):
            await asyncpg.connect(url)
        await private.start()

    assert private.url() == url
    assert await execute(url, "TABLE kept") == "SELECT 1"


async def test_kill_leaves_no_process_and_commits_survive_it(private: PrivatePostgres, look: SimpleNamespace) -> None:
    await execute(private.url(), "CREATE TABLE survives_kill AS SELECT 1")
    connection = await asyncpg.connect(private.url())
    family = psutil.Process(private.pid).children(recursive=True)

    await private.kill()

    assert private.pid is None
    assert family
    assert all(map(look.has_ended, family))
    connection.terminate()
    await private.start()
    assert await execute(private.url(), "TABLE survives_kill") == "SELECT 1"


async def test_paused_server_answers_nothing_until_it_is_resumed(private: PrivatePostgres) -> None:
    connection = await asyncpg.connect(private.url())
    private.pause()
    question = asyncio.create_task(connection.fetchval("SELECT 1"))
    with pytest.raises(TimeoutError):
        await asyncpg.connect(private.url(), timeout=0.2)
    assert not question.done()

    private.resume()

    assert await asyncio.wait_for(question, 10) == 1
    await connection.close()


async def test_strangers_on_this_machine_need_the_password(private: PrivatePostgres) -> None:
    url = private.url().replace(":" + private.url().split(":")[2].split("@")[0], ":guess")

    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(url)


@pytest.mark.parametrize("binaries", all_binaries(), ids=lambda binaries: str(binaries.major))
async def test_each_installed_version_can_be_had_with_settings_of_its_own(binaries) -> None:
    async with PrivatePostgres(binaries, settings={"max_connections": "17"}) as server:
        connection = await asyncpg.connect(server.url())
        version = connection.get_server_version().major
        settings = [await connection.fetchval(f"SHOW {name}") for name in ("max_connections", "synchronous_commit")]
        await connection.close()

    assert (version, settings) == (binaries.major, ["17", "on"])


async def test_a_durable_server_syncs_its_commits_to_files_that_are_not_in_memory() -> None:
    async with PrivatePostgres(durable=True) as server:
        connection = await asyncpg.connect(server.url())
        synced = [await connection.fetchval(f"SHOW {name}") for name in ("fsync", "full_page_writes")]
        folder = Path(await connection.fetchval("SHOW data_directory"))
        await connection.close()

    assert synced == ["on", "on"]
    assert folder.is_relative_to(tempfile.gettempdir())


async def test_close_leaves_nothing_even_of_a_paused_server(look: SimpleNamespace) -> None:
    server = PrivatePostgres()
    await server.start()
    process, folder = psutil.Process(server.pid), server._data_dir.path
    server.pause()

    await server.aclose()
    await server.aclose()

    assert not folder.exists()
    assert look.has_ended(process)


async def test_what_a_killed_owner_left_is_removed_by_the_next(look: SimpleNamespace) -> None:
    pid, folder = leave_an_orphan()

    async with PrivatePostgres():
        pass

    assert Path(folder).name not in look.names_in(Path(folder).parent)
    await look.eventually(lambda: int(pid) not in psutil.pids() or look.has_ended(psutil.Process(int(pid))))


async def execute(url: str, statement: str) -> str:
    connection = await asyncpg.connect(url)
    try:
        return await connection.execute(statement)
    finally:
        await connection.close()


async def test_link_of_a_stranger_among_the_folders_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    async with PrivatePostgres() as server:
        link = server._data_dir.path.parent / "task-postgres-of-a-stranger"
    link.symlink_to(tmp_path)

    try:
        async with PrivatePostgres():
            pass
    finally:
        link.unlink()

    assert [path.name for path in tmp_path.iterdir()] == ["precious"]  # noqa: ASYNC240 # nothing else runs


def leave_an_orphan() -> list[str]:
    done = subprocess.run([sys.executable, "-c", ORPHAN], capture_output=True, text=True, timeout=60, check=False)
    return done.stdout.split()
