"""docker-compose over a copy of the repository, as a stranger's clone would be."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from task_client import HealthStatus, TaskClient, TaskClientError

ROOT = Path(__file__).parents[2]
COMMAND_SECONDS = 1800.0
BUILDKIT = {"COMPOSE_DOCKER_CLI_BUILD": "1", "DOCKER_BUILDKIT": "1"}
"""Older versions of Docker need these to use BuildKit."""


def clone(folder: Path) -> Path:
    """Copy what git tracks, and what it would, into `folder`, and return that."""
    names = run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT).split("\0")
    for name in filter(None, names):
        if (source := ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, folder / name)
    return folder


class Compose:
    """One project of docker-compose: its containers, its volumes and its network bear a name of their own.

    Args:
        folder: the copy of the repository that commands run in.
        name: of the project.
        files: the compose files, relative to `folder`; docker-compose's own choice if left out.
        settings: environment variables on top of ours.

    """

    def __init__(self, folder: Path, name: str, *files: str, **settings: str) -> None:
        self.folder = folder
        self.name = name
        self.port = free_port()
        self._files = [word for file in files for word in ("-f", file)]
        ports = {name: str(free_port()) for name in ("TASK_DB_PORT", "TASK_RABBITMQ_PORT", "TASK_RABBITMQ_UI_PORT")}
        self.environment = {
            **os.environ,
            **ports,
            **BUILDKIT,
            "COMPOSE_PROJECT_NAME": name,
            "TASK_PORT": str(self.port),
            "TASK_PRODUCTION_PORT": str(self.port),
            **settings,
        }

    @property
    def url(self) -> str:
        """Where the API is published."""
        return f"http://127.0.0.1:{self.port}"

    def __call__(self, *words: str) -> str:
        """Run a command of docker-compose, and return what it prints.

        Raises:
            AssertionError: its exit code is not 0; with all that it said.

        """
        return run([*compose_command(), *self._files, *words], cwd=self.folder, env=self.environment)

    def shell(self, line: str) -> str:
        """Run a line of a page, as somebody types it in the checkout, and return what it prints."""
        line = re.sub(r"\bdocker-compose(?= )", " ".join(compose_command()), line)
        return run(["sh", "-c", line], cwd=self.folder, env=self.environment)

    @contextmanager
    def at_terminal(self, *words: str) -> Iterator[Terminal]:
        """Begin a command at a terminal; it is killed in the end."""
        terminal = Terminal([*compose_command(), *self._files, *words], cwd=self.folder, env=self.environment)
        try:
            yield terminal
        finally:
            terminal.close()

    def containers(self, service: str) -> list[str]:
        """Return the ids of a service's containers that run."""
        return self("ps", "-q", service).split()

    def inspect(self, container: str) -> dict[str, Any]:
        """Return what the engine knows of a container."""
        found: dict[str, Any] = json.loads(docker("inspect", container))[0]
        return found

    def health(self, container: str) -> str:
        """Return what its health check says: starting, healthy, unhealthy."""
        return str(self.inspect(container)["State"]["Health"]["Status"])


class Terminal:
    """A pseudo-terminal for a command. Ctrl-C typed there reaches the whole process group."""

    def __init__(self, command: list[str], *, cwd: Path, env: Mapping[str, str]) -> None:
        self._ours, theirs = os.openpty()
        os.set_blocking(self._ours, False)
        self.process = subprocess.Popen(command, cwd=cwd, env=env, stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)
        self._seen = b""

    def seen(self) -> str:
        """Return all that the command has printed by now."""
        with suppress(OSError):  # there is no more, or nobody writes any more
            while printed := os.read(self._ours, 1 << 16):
                self._seen += printed
        return self._seen.decode(errors="replace")

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._ours, text.encode())

    def close(self) -> None:
        """Kill what still runs, and let go of the terminal."""
        self.process.kill()
        self.process.wait()
        os.close(self._ours)


def compose_command() -> list[str]:
    """Return docker-compose in the form that this machine has."""
    return ["docker-compose"] if shutil.which("docker-compose") else ["docker", "compose"]


def docker(*words: str) -> str:
    """Run a command of docker, and return what it prints."""
    return run(["docker", *words], env={**os.environ, **BUILDKIT})


@contextmanager
def removing_images(*names: str) -> Iterator[None]:
    """Leave nothing of the images that a block builds under these names, which `docker-compose down` spares."""
    try:
        yield
    finally:
        if built := [name for name in names if docker("images", "-q", name)]:
            docker("rmi", *built)


def run(command: list[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    """Run a command to its end, and return what it prints; a failure shows all of that."""
    done = subprocess.run(
        command, cwd=cwd, env=env, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def is_ready(client: TaskClient) -> bool:
    """Return whether the API answers that all is well, a worker included."""
    try:
        return client.ready().status is HealthStatus.OK
    except TaskClientError:
        return False


def free_port() -> int:
    """Return a port that nothing listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
