"""A private RabbitMQ server, from binaries on this machine.

**Invariants**

- It shares nothing with a server of the machine: node name, ports, folders, cookie, epmd are its own, and it listens
  on 127.0.0.1 only.
- Its processes run in process groups of their own and are ended by the ids of those groups. A guard process ends them
  when the process that started them has ended, by kill -9 too.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

from task_bus.testing._amqp import free_ports, speaks_amqp
from task_bus.testing._binaries import RabbitBinaries
from task_bus.testing._server import ManagementApi, NoServerError, wait_until

START_SECONDS = 90
STOP_SECONDS = 30
CTL_SECONDS = 60

_CONFIG = """\
listeners.tcp.1 = 127.0.0.1:{amqp}
management.tcp.ip = 127.0.0.1
management.tcp.port = {management}
disk_free_limit.absolute = 1MB
log.file.level = info
"""

_PROC = Path("/proc")

# Its input is a pipe from the process that started it: the input ends when that process ends.
_GUARD = 'read -r _; folder=$1; shift; for group in "$@"; do kill -s KILL -- "-$group"; done; rm -rf -- "$folder"'


class PrivateRabbit:
    """A server in a temporary folder: `RabbitServer` over processes and signals."""

    def __init__(self, binaries: RabbitBinaries) -> None:
        self._binaries = binaries
        self._folder = Path(tempfile.mkdtemp(prefix="task-test-rabbit-"))
        self._amqp, management, distribution, self._epmd_port = free_ports(4)
        self.management_url = f"http://guest:guest@127.0.0.1:{management}"
        self._management = ManagementApi(self.management_url)
        (self._folder / "rabbitmq.conf").write_text(_CONFIG.format(amqp=self._amqp, management=management))
        (self._folder / "plugins").write_text("[rabbitmq_management].\n")
        self._environment = self._private_environment(distribution)
        self._epmd: subprocess.Popen[bytes] | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

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
        done = subprocess.run(  # noqa: S603 # our own binaries
            [self._binaries.scripts / "rabbitmqctl", *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=CTL_SECONDS,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"rabbitmqctl {' '.join(arguments)}: {done.stderr or done.stdout}")
        return done.stdout

    def start(self) -> None:
        """See `RabbitServer`."""
        if self._epmd is None:
            epmd = str(self._binaries.erlang / "epmd")
            self._epmd = self._spawn(epmd, "-port", str(self._epmd_port), "-address", "127.0.0.1")
        self._server = self._spawn(str(self._binaries.scripts / "rabbitmq-server"))
        self._watch_over()
        wait_until(self._has_started, START_SECONDS, "starting")

    def stop(self) -> None:
        """See `RabbitServer`."""
        if self._server is not None:
            # The server's script passes SIGTERM on, and ends when the server has ended.
            self._server.terminate()
            self._server.wait(STOP_SECONDS)
            self.kill()

    def kill(self) -> None:
        """See `RabbitServer`."""
        if self._server is not None:
            _end(self._server)
            self._server = None
            wait_until(lambda: not speaks_amqp(self._amqp), STOP_SECONDS, "ending")

    def pause(self) -> None:
        """See `RabbitServer`."""
        self._signal(signal.SIGSTOP)
        if self._server is not None:
            group = self._server.pid
            # Erlang has many threads, and on a busy machine some of them answer for a while yet.
            wait_until(lambda: _has_stopped(group), STOP_SECONDS, "freezing")

    def resume(self) -> None:
        """See `RabbitServer`."""
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        """See `RabbitServer`."""
        self.kill()
        if self._epmd is not None:
            _end(self._epmd)
            self._epmd = None
        self._dismiss_guard()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _private_environment(self, distribution_port: int) -> dict[str, str]:
        folder = self._folder
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(("RABBITMQ_", "ERL_", "LC_"))
        }
        return inherited | {
            "PATH": f"{self._binaries.erlang}:{os.environ['PATH']}",
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"{folder.name}@localhost",
            "RABBITMQ_DIST_PORT": str(distribution_port),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            # Names that do not exist, so that the machine's own files are not read.
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "none.config"),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "none.env"),
        }

    def _spawn(self, *command: str) -> subprocess.Popen[bytes]:
        with (self._folder / "output").open("ab") as output:
            return subprocess.Popen(  # noqa: S603 # our own binaries
                command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _watch_over(self) -> None:
        self._dismiss_guard()
        groups = [str(process.pid) for process in (self._server, self._epmd) if process is not None]
        self._guard = subprocess.Popen(  # noqa: S603 # our own processes
            ["/bin/sh", "-c", _GUARD, "guard", str(self._folder), *groups],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _dismiss_guard(self) -> None:
        if self._guard is not None:
            self._guard.kill()
            self._guard.communicate()
            self._guard = None

    def _has_started(self) -> bool:
        if self._server is None or self._server.poll() is not None:
            output = (self._folder / "output").read_text(errors="replace")
            raise NoServerError(f"RabbitMQ did not start: {output[-1000:]}")
        return speaks_amqp(self._amqp)

    def _signal(self, number: signal.Signals) -> None:
        if self._server is not None:
            os.killpg(self._server.pid, number)


def _has_stopped(group: int) -> bool:
    """Return whether each thread of a process group is stopped; True where there is no /proc to tell."""
    states = []
    for pid in filter(str.isdecimal, (path.name for path in _PROC.glob("*"))):
        with suppress(OSError):  # it has ended meanwhile
            if os.getpgid(int(pid)) == group:
                threads = [path.read_text() for path in (_PROC / pid / "task").glob("*/stat")]
                states += [text.rpartition(")")[2].split()[0] for text in threads]
    return set(states) <= {"T", "Z", "X"}  # stopped, or ended


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(STOP_SECONDS)
