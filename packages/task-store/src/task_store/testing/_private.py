"""A throw-away PostgreSQL server for tests. It starts in half a second, and can be stopped, killed and frozen.

**Invariants**
- Nothing outlives the tests: the kernel ends the server when their process is killed (if `setpriv` can ask for that),
  and the next server removes the folder, which is then no longer locked.
- The port stays the same over every stop and start. It is below the system's range for outgoing connections: a client
  that keeps trying a closed port of that range would one day connect to itself.
- Nothing is synced to disk, but commits survive the death of all processes of the server: they are in the system's
  cache. A durable server, for measurements, syncs as one for real work does.
"""

from __future__ import annotations

import secrets
import shutil
import signal
import socket
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Self

from task_store.embedded._account import Account, choose_account, works
from task_store.embedded._binaries import PostgresBinaries, find_binaries
from task_store.embedded._cluster import SUPERUSER, Cluster, durable_settings
from task_store.embedded._data_dir import DataDir
from task_store.embedded._launch import launch
from task_store.embedded._server import Server
from task_store.testing._folders import new_folder, remove_folder

_PORTS = range(20_000, 30_000)
_UNSYNCED = {"fsync": "off", "full_page_writes": "off", "max_wal_size": "128MB"}


class PrivatePostgres:
    """A PostgreSQL server on a port of 127.0.0.1, with a random password.

    As a context manager it starts on entry, and on exit nothing is left of it. Start it on a thread that lives as long
    as the server: when that thread ends, the kernel ends the server.

    Args:
        binaries: PostgreSQL's programs, such as one of `task_store.embedded.all_binaries`; the preferred ones by
            default.
        settings: settings of postgresql.conf beside those for tests, such as `{"max_connections": "10"}`.
        durable: keep its files on a disk, in the folder for temporary files, and sync each commit to it.

    """

    def __init__(
        self,
        binaries: PostgresBinaries | None = None,
        *,
        settings: Mapping[str, str] | None = None,
        durable: bool = False,
    ) -> None:
        self.binaries = binaries or find_binaries()
        self._settings = {**({} if durable else _UNSYNCED), **(settings or {})}
        self._durable = durable
        self._port = _free_port()
        self._password = secrets.token_hex(8)
        self._data_dir: DataDir | None = None
        self._cluster: Cluster | None = None
        self._server: Server | None = None

    def url(self, database: str = "postgres") -> str:
        """Return the URL of a database, for a superuser. It stays the same over stop and start."""
        return f"postgresql://{SUPERUSER}:{self._password}@127.0.0.1:{self._port}/{database}"

    @property
    def pid(self) -> int | None:
        """The process id of the postmaster; None if it does not run."""
        return self._server.pid if self._server and self._server.is_running else None

    async def start(self) -> None:
        """Start the server: the first time with new files, later with the files that it had. Not while it runs.

        Raises:
            EmbeddedPostgresError: it did not start.

        """
        if self._data_dir is None:
            self._data_dir = new_folder(in_memory=not self._durable)
        if self._cluster is None:
            account = _ending_with_parent(choose_account(self.binaries), self.binaries)
            cluster = Cluster(self._data_dir.cluster, self.binaries, account)
            await self._create(cluster)
            self._cluster = cluster
        self._server = await launch(self._cluster.command({}), self._data_dir.log, self.url())

    async def stop(self, *, immediate: bool = False) -> None:
        """Stop the server and keep its files; `immediate` without a checkpoint, like a crash. Safe to repeat."""
        if self._server is not None:
            self.resume()
            await self._server.stop(immediate=immediate)

    async def kill(self) -> None:
        """Kill all processes of the server and return when they have ended."""
        self.pause()  # so that no new process begins after the next line
        family = self._server.family() if self._server else []
        for member in family:
            member.send(signal.SIGKILL)
        for member in family:
            await member.ended()

    def pause(self) -> None:
        """Freeze all processes of the server: connections stay open, but nothing is answered."""
        if self._server is not None:
            self._server.send(signal.SIGSTOP)  # first, so that it starts no more processes
            for member in self._server.family():
                member.send(signal.SIGSTOP)

    def resume(self) -> None:
        """Let frozen processes continue. Does nothing otherwise."""
        for member in self._server.family() if self._server else []:
            member.send(signal.SIGCONT)

    async def aclose(self) -> None:
        """Stop the server and remove its files. Safe to repeat."""
        await self.stop(immediate=True)
        if self._data_dir is not None:
            remove_folder(self._data_dir)
        self._data_dir = self._cluster = self._server = None

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _create(self, cluster: Cluster) -> None:
        settings = {
            **durable_settings(self.binaries.major),
            "listen_addresses": "127.0.0.1",
            "port": str(self._port),
            "unix_socket_directories": "",
            "dynamic_shared_memory_type": "mmap",  # in files of its folder: a killed server leaves nothing elsewhere
            "max_connections": "200",
            **self._settings,
        }
        with tempfile.NamedTemporaryFile("w", dir=cluster.folder.parent) as password:
            password.write(self._password)
            password.flush()
            await cluster.create(settings, "--auth-host=scram-sha-256", f"--pwfile={password.name}", "--no-sync")


def _free_port() -> int:
    while True:
        port = secrets.choice(_PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port


def _ending_with_parent(account: Account, binaries: PostgresBinaries) -> Account:
    """Return the account with a prefix that has the kernel end the server with its parent, if the system can."""
    setpriv = shutil.which("setpriv")
    ending = replace(account, prefix=(*account.prefix, setpriv or "", "--pdeathsig=QUIT"))
    return ending if setpriv and works(ending, binaries) else account
