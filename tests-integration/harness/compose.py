"""docker-compose over a copy of the repository, as a stranger's clone would be."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from task_client import HealthStatus, TaskClient, TaskClientError

ROOT = Path(__file__).parents[2]
COMMAND_SECONDS = 900.0


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
            "COMPOSE_PROJECT_NAME": name,
            "COMPOSE_DOCKER_CLI_BUILD": "1",
            "DOCKER_BUILDKIT": "1",
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

    def begin(self, *words: str) -> subprocess.Popen[str]:
        """Begin a command that does not end by itself; what it prints can be read from its `stdout`."""
        return subprocess.Popen(
            [*compose_command(), *self._files, *words],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

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


def compose_command() -> list[str]:
    """Return docker-compose in the form that this machine has."""
    return ["docker-compose"] if shutil.which("docker-compose") else ["docker", "compose"]


def docker(*words: str) -> str:
    """Run a command of docker, and return what it prints."""
    return run(["docker", *words])


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
