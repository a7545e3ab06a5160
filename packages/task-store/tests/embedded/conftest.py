"""Data folders, services in processes of their own, and the removal of what either may leave."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from task_store.embedded import EmbeddedPostgres
from task_store.testing import PrivatePostgres

SERVICE = """
import asyncio, sys
from pathlib import Path
from task_store.embedded import EmbeddedPostgres

async def main():
    postgres = EmbeddedPostgres(Path(sys.argv[1]))
    print(await postgres.start(), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    await postgres.stop()

asyncio.run(main())
"""

StartService = Callable[..., subprocess.Popen[str]]


def servers_on(folder: Path) -> list[psutil.Process]:
    """Return the processes that have a data folder among their arguments, and their children."""
    found = [p for p in psutil.process_iter() if str(folder) in _command(p)]
    return found + [child for process in found for child in _children(process)]


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A folder that does not exist yet, in one that everybody may enter; what still runs on it at the end is killed."""
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(prefix="ts-", dir=memory, ignore_cleanup_errors=True) as parent:
        Path(parent).chmod(0o755)
        folder = Path(parent).resolve() / "data"
        yield folder
        left = servers_on(folder)
        for number in (signal.SIGQUIT, signal.SIGKILL):  # by a kill alone they would leave their shared memory
            for process in left:
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(number)
            _, left = psutil.wait_procs(left, timeout=10)


@pytest.fixture
async def postgres(data_dir: Path) -> AsyncIterator[EmbeddedPostgres]:
    """A server that runs on `data_dir`."""
    async with EmbeddedPostgres(data_dir) as postgres:
        yield postgres


@pytest.fixture(scope="module")
async def private() -> AsyncIterator[PrivatePostgres]:
    """A throw-away server for a module. A test must leave it running."""
    async with PrivatePostgres() as private:
        yield private


@pytest.fixture
def start_service() -> Iterator[StartService]:
    """Start a service in a process of its own. A line on its standard input ends it. Killed after the test."""
    processes: list[subprocess.Popen[str]] = []

    def start(data_dir: Path, *prefix: str, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*prefix, sys.executable, "-c", SERVICE, str(data_dir)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | environment,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.communicate()


def has_ended(process: psutil.Process) -> bool:
    """Return whether a process has ended, even if its parent has not waited for it yet."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def postmaster_of(data_dir: Path) -> psutil.Process:
    """Return the server's process, by its postmaster.pid."""
    return psutil.Process(int((data_dir / "postgres" / "postmaster.pid").read_text().split("\n")[0]))


def names_in(folder: Path) -> list[str]:
    """Return what a folder holds."""
    return sorted(path.name for path in folder.iterdir())


async def eventually(condition: Callable[[], object]) -> None:
    """Return when the condition holds; fail after 20 s."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 # other processes set no event of ours
            await asyncio.sleep(0.005)  # other processes set no event


@pytest.fixture
def look() -> SimpleNamespace:
    """The functions above, since test modules cannot import a conftest."""
    return SimpleNamespace(
        servers_on=servers_on,
        has_ended=has_ended,
        postmaster_of=postmaster_of,
        names_in=names_in,
        eventually=eventually,
    )
