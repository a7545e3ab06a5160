"""Creates the files of one PostgreSQL server (PostgreSQL calls them a cluster): all of them or none.

**Invariants**
- `initdb` works in a folder of its own, which then gets its final name by a rename. A start that is killed before that
  leaves a folder under another name, never half a cluster.
- The caller holds the lock of the data folder.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from task_store.embedded._account import Account
from task_store.embedded._binaries import PostgresBinaries
from task_store.embedded._disk import rename_synced
from task_store.embedded._programs import run_program
from task_store.embedded._server import Server
from task_store.embedded.errors import ProgramFailedError, ServerDidNotStartError

SUPERUSER = "task"
UNFINISHED = ".unfinished-"
"""Part of the name of a folder that a start or a restore has not finished."""

_INITDB_SECONDS = 120.0


@dataclass(frozen=True)
class Cluster:
    """A folder of PostgreSQL's files, the programs that can read it, and the account that owns it."""

    folder: Path
    binaries: PostgresBinaries
    account: Account

    def command(self, settings: Mapping[str, str]) -> list[str]:
        """Return the command that runs a server on it. `settings` override its postgresql.conf."""
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [*self.account.prefix, self.binaries.program("postgres"), "-D", str(self.folder), *options]

    async def create(self, settings: Mapping[str, str], *initdb_options: str) -> None:
        """Create the files. `folder` must not exist. The superuser `task` needs no password on the local socket.

        Raises:
            ServerDidNotStartError: initdb failed. Nothing is left behind.

        """
        new = Path(tempfile.mkdtemp(prefix=self.folder.name + UNFINISHED, dir=self.folder.parent))
        try:
            os.chown(new, self.account.uid, self.account.gid)
            await self._initdb(new, initdb_options)
            _append_settings(new / "postgresql.conf", settings)
            rename_synced(new, self.folder)
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise

    async def _initdb(self, folder: Path, options: tuple[str, ...]) -> None:
        arguments = ["-D", str(folder), f"--username={SUPERUSER}", "--auth-local=trust", "--encoding=UTF8"]
        arguments += ["--locale=C", "--data-checksums", *options]
        try:
            await run_program(self.binaries, "initdb", *arguments, prefix=self.account.prefix, seconds=_INITDB_SECONDS)
        except ProgramFailedError as error:
            raise ServerDidNotStartError(error.program, error.log_lines) from error


async def remove_unfinished(folder: Path) -> None:
    """Remove what killed starts and restores left beside `folder`, and stop the server of such a restore.

    What cannot be removed now is removed next time.
    """
    for rubbish in folder.parent.glob(folder.name + UNFINISHED + "*"):
        if server := Server.find(rubbish / folder.name):
            await server.stop(immediate=True)
        shutil.rmtree(rubbish, ignore_errors=True)


def durable_settings(major: int) -> dict[str, str]:
    """Return the settings for one service on one machine. fsync and synchronous_commit stay on."""
    settings = {
        "listen_addresses": "",
        "unix_socket_permissions": "0700",
        "max_connections": "100",
        "shared_buffers": "64MB",
        "huge_pages": "off",
        "max_logical_replication_workers": "0",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "log_checkpoints": "off",
        # The text of a statement, and the row in the DETAIL of an error, may hold a payload.
        "log_min_error_statement": "panic",
        "log_error_verbosity": "terse",
    }
    if major >= 18:  # otherwise three more processes, for reading ahead, which a queue does not do
        settings["io_method"] = "sync"
    return settings


def _append_settings(path: Path, settings: Mapping[str, str]) -> None:
    with path.open("a") as file:
        file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
        file.flush()
        os.fsync(file.fileno())
