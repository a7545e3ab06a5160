from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from task_contracts import BackOff
from task_runtime import LoopKeepsDyingError, RestartPolicy
from task_service import embedded_database as module
from task_service.embedded_database import _how_to_move, embedded_database
from task_store.embedded import WrongMajorVersionError, find_binaries


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A data folder that PostgreSQL 12 has written, which is not on this machine."""
    folder = tmp_path / "my data"
    (folder / "postgres").mkdir(parents=True)
    (folder / "postgres" / "PG_VERSION").write_text("12\n")
    return folder


def test_data_of_an_older_postgresql_comes_with_the_commands_that_move_it(data_dir: Path) -> None:
    text = _how_to_move(data_dir, WrongMajorVersionError(data_dir, found=12, needed=18))

    assert f"`task-service backup --data-dir '{data_dir}' FILE`" in text
    assert f"`task-service restore --data-dir '{data_dir}' --replace FILE`" in text
    assert "by the installation that wrote the data, or once PostgreSQL 12 is installed" in text


def test_where_the_older_postgresql_is_here_it_is_named(data_dir: Path) -> None:
    here = find_binaries()
    (data_dir / "postgres" / "PG_VERSION").write_text(f"{here.major}\n")

    text = _how_to_move(data_dir, WrongMajorVersionError(data_dir, found=here.major, needed=here.major + 1))

    assert f"the programs of {here.major} are in {here.folder}" in text


def test_no_command_is_promised_that_leads_to_an_older_postgresql(data_dir: Path) -> None:
    assert _how_to_move(data_dir, WrongMajorVersionError(data_dir, found=18, needed=15)) == ""


class FakePostgres:
    """A server whose watch dies as often as `deaths` says; it then watches until it is cancelled."""

    def __init__(self, deaths: float) -> None:
        self.deaths = deaths
        self.watches = 0
        self.is_watching = asyncio.Event()
        self.is_stopped = False

    async def start(self) -> str:
        return "postgresql://"

    async def watch(self) -> None:
        self.watches += 1
        if self.watches <= self.deaths:
            raise LookupError("a bug")
        self.is_watching.set()
        await asyncio.Event().wait()

    async def stop(self) -> None:
        self.is_stopped = True


@pytest.fixture
def restarts() -> RestartPolicy:
    return RestartPolicy(back_off=BackOff(first_seconds=0.001, longest_seconds=0.001), deaths_max=5)


async def test_a_watch_that_dies_is_begun_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, restarts: RestartPolicy
) -> None:
    postgres, stop = FakePostgres(deaths=3), asyncio.Event()
    monkeypatch.setattr(module, "EmbeddedPostgres", lambda _: postgres)
    async with embedded_database(tmp_path, stop, restarts), asyncio.timeout(5):
        await postgres.is_watching.wait()
        assert not stop.is_set()

    assert postgres.is_stopped


async def test_a_service_whose_database_cannot_be_watched_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, restarts: RestartPolicy
) -> None:
    postgres, stop = FakePostgres(deaths=float("inf")), asyncio.Event()
    monkeypatch.setattr(module, "EmbeddedPostgres", lambda _: postgres)
    with pytest.raises(LoopKeepsDyingError):
        async with embedded_database(tmp_path, stop, restarts), asyncio.timeout(5):
            await stop.wait()

    assert postgres.is_stopped
