"""A private RabbitMQ server in a container."""

from __future__ import annotations

import os
import shutil
import subprocess

from task_bus.testing._amqp import free_ports, speaks_amqp
from task_bus.testing._server import ManagementApi, NoServerError, wait_until

IMAGE = "rabbitmq:4-management"
START_SECONDS = 120
COMMAND_SECONDS = 300


def has_engine() -> bool:
    """Return whether a Docker engine answers."""
    if shutil.which("docker") is None:
        return False
    return _docker("version", "--format", "{{.Server.Version}}", check=False).returncode == 0


class DockerRabbit:
    """`RabbitServer` in a container."""

    def __init__(self) -> None:
        self._amqp, management = free_ports(2)
        self.management_url = f"http://guest:guest@127.0.0.1:{management}"
        self._management = ManagementApi(self.management_url)
        self._name = f"task-test-rabbit-{os.getpid()}-{self._amqp}"
        self._ports = ["-p", f"127.0.0.1:{self._amqp}:5672", "-p", f"127.0.0.1:{management}:15672"]
        self._exists = False

    def url(self, vhost: str = "/") -> str:
        """See `RabbitServer`."""
        return f"amqp://guest:guest@127.0.0.1:{self._amqp}/{vhost.replace('/', '%2F')}"

    def add_vhost(self, vhost: str) -> None:
        """See `RabbitServer`."""
        self._management.add_vhost(vhost)

    def delete_vhost(self, vhost: str) -> None:
        """See `RabbitServer`."""
        self._management.delete("vhosts", vhost)

    def ctl(self, *arguments: str) -> str:
        """See `RabbitServer`."""
        done = _docker("exec", self._name, "rabbitmqctl", *arguments, check=False)
        if done.returncode:
            raise RuntimeError(f"rabbitmqctl {' '.join(arguments)}: {done.stderr or done.stdout}")
        return done.stdout

    def start(self) -> None:
        """See `RabbitServer`."""
        if self._exists:
            _docker("start", self._name)
        else:
            # The hostname is part of the path of its data: it must stay the same for the data to be found again.
            _docker("run", "-d", "--name", self._name, "--hostname", "rabbit", *self._ports, IMAGE)
            self._exists = True
        wait_until(lambda: speaks_amqp(self._amqp), START_SECONDS, f"starting {IMAGE}")

    def stop(self) -> None:
        """See `RabbitServer`."""
        _docker("stop", self._name)

    def kill(self) -> None:
        """See `RabbitServer`."""
        _docker("kill", self._name)

    def pause(self) -> None:
        """See `RabbitServer`."""
        _docker("pause", self._name)

    def resume(self) -> None:
        """See `RabbitServer`."""
        _docker("unpause", self._name)

    def close(self) -> None:
        """See `RabbitServer`."""
        _docker("rm", "-f", "-v", self._name, check=False)


def _docker(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(  # noqa: S603 # docker, found on the PATH
        ["docker", *arguments],  # noqa: S607 # which one is the developer's choice
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )
    if check and done.returncode:
        raise NoServerError(f"docker {arguments[0]}: {done.stderr.strip()}")
    return done
