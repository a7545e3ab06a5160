"""Where tests get their RabbitMQ from, without starting one."""

from __future__ import annotations

import shutil
import socket
import subprocess
from pathlib import Path

import pytest

import task_bus.testing as testing
from task_bus.testing import DockerRabbit, NoServerError, PrivateRabbit, _debian, _docker, start_server
from task_bus.testing._amqp import free_ports, speaks_amqp
from task_bus.testing._binaries import RabbitBinaries, erlang_folder, find_below
from task_bus.testing._server import wait_until

SERVER = "usr/lib/rabbitmq/lib/rabbitmq_server-3.10.8/sbin"
ERLANG = "usr/lib/erlang/bin"


def _put_binaries(root: Path) -> RabbitBinaries:
    for script in (f"{SERVER}/rabbitmq-server", f"{ERLANG}/erl"):
        path = root / script
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("ROOTDIR=/usr/lib/erlang\n")
    return RabbitBinaries(root / SERVER, root / ERLANG)


@pytest.fixture
def nothing(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine with neither a server, nor packages, nor Docker."""
    monkeypatch.setattr(testing, "find_installed", lambda: None)
    monkeypatch.setattr(testing, "unpack", lambda say: None)
    monkeypatch.setattr(testing, "has_engine", lambda: False)
    return monkeypatch


def test_where_there_is_nothing_one_line_says_what_to_do(nothing):
    with pytest.raises(NoServerError, match="install the package rabbitmq-server") as caught:
        start_server()

    assert "\n" not in str(caught.value)
    assert "TASK_TEST_BROKER_URL" in str(caught.value)


def test_the_line_says_why_unpacking_failed(nothing):
    def fail(say):
        raise NoServerError("apt-get: no route to host")

    nothing.setattr(testing, "unpack", fail)

    with pytest.raises(NoServerError, match="no route to host"):
        start_server()


def test_unpacked_binaries_come_before_docker(nothing, tmp_path):
    nothing.setattr(testing, "has_engine", lambda: True)
    nothing.setattr(testing, "unpack", lambda say: _put_binaries(tmp_path))
    nothing.setattr(PrivateRabbit, "start", lambda self: None)

    server = start_server()

    server.close()
    assert isinstance(server, PrivateRabbit)


def test_docker_is_the_last_resort(nothing):
    nothing.setattr(testing, "has_engine", lambda: True)
    nothing.setattr(DockerRabbit, "start", lambda self: None)

    assert isinstance(start_server(), DockerRabbit)


def test_a_server_that_does_not_start_says_so_and_leaves_nothing(nothing, tmp_path):
    binaries = _put_binaries(tmp_path)
    for path, text in ((binaries.scripts / "rabbitmq-server", "echo it is broken"), (binaries.erlang / "epmd", "")):
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
    nothing.setattr(testing, "find_installed", lambda: binaries)
    folders: list[Path] = []
    make = PrivateRabbit.__init__

    def note(self, given):
        make(self, given)
        folders.append(self._folder)

    nothing.setattr(PrivateRabbit, "__init__", note)

    with pytest.raises(NoServerError, match="it is broken"):
        start_server()

    assert not folders[0].exists()


def test_half_of_an_unpacked_server_is_none(tmp_path):
    assert find_below(tmp_path) is None
    binaries = _put_binaries(tmp_path)
    assert find_below(tmp_path) == binaries
    (tmp_path / ERLANG / "erl").unlink()
    assert find_below(tmp_path) is None


def test_erlang_is_looked_up_where_its_link_leads(tmp_path):
    home, path = tmp_path / "home", tmp_path / "path"
    home.mkdir()
    path.mkdir()
    (home / "erl").touch()
    (path / "erl").symlink_to(home / "erl")
    assert erlang_folder(path / "erl") == path

    (home / "epmd").touch()
    assert erlang_folder(path / "erl") == home


@pytest.fixture
def apt(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Stand in for apt and dpkg; without package lists of its own apt knows no package."""
    commands: list[tuple[str, ...]] = []
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")

    listed = "rabbitmq-server\n  Depends: x\nlibc6\nerlang-base\n"

    def run(command, *, cwd=None, **_):
        commands.append(command)
        has_lists = any(part.startswith("Dir::State::lists") for part in command)
        match command[0]:
            case "apt-cache" if not has_lists:
                return subprocess.CompletedProcess(command, 100, "", "E: No packages found")
            case "apt-cache":
                return subprocess.CompletedProcess(command, 0, listed, "")
            case "apt-get" if "download" in command:
                (cwd / "rabbitmq-server.deb").touch()
            case "dpkg":
                _put_binaries(Path(command[-1]))
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    return commands


def test_packages_are_unpacked_once_and_said_aloud(apt, tmp_path):
    said: list[str] = []

    first = _debian.unpack(said.append, tmp_path)
    number = len(apt)
    second = _debian.unpack(said.append, tmp_path)

    assert first == second == RabbitBinaries(tmp_path / "rabbitmq" / SERVER, tmp_path / "rabbitmq" / ERLANG)
    assert (len(apt), len(said)) == (number, 1)
    assert (first.erlang / "erl").read_text() == f"ROOTDIR={tmp_path}/rabbitmq/usr/lib/erlang\n"
    assert [child.name for child in tmp_path.iterdir()] == ["rabbitmq"]


def test_where_package_lists_are_empty_they_are_loaded_into_a_folder_of_ours(apt, tmp_path):
    _debian.unpack(print, tmp_path)

    download = next(command for command in apt if "download" in command)
    assert download[-2:] == ("erlang-base", "rabbitmq-server")
    assert any("update" in command for command in apt)


def test_a_package_that_cannot_be_loaded_is_an_error_of_one_line(apt, tmp_path, monkeypatch):
    monkeypatch.setattr(
        subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 100, "", "E: no route\n")
    )

    with pytest.raises(NoServerError, match=r"^apt-get: E: no route$"):
        _debian.unpack(print, tmp_path)


def test_without_apt_there_is_nothing_to_unpack(monkeypatch, tmp_path):
    monkeypatch.setattr(shutil, "which", lambda name: None)

    assert _debian.unpack(print, tmp_path) is None


def test_the_cache_is_where_the_system_keeps_caches(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert _debian.cache_folder() == Path("/somewhere/task-bus")

    monkeypatch.delenv("XDG_CACHE_HOME")
    assert _debian.cache_folder() == Path.home() / ".cache" / "task-bus"


def test_a_container_is_driven_by_its_name_on_ports_of_this_machine_only(monkeypatch):
    commands: list[list[str]] = []

    def run(command, **_):
        commands.append(command)
        return subprocess.CompletedProcess(command, 0, "output", "")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(_docker, "speaks_amqp", lambda port: True)
    server = DockerRabbit()

    server.start()
    assert server.ctl("status") == "output"
    for act in (server.stop, server.start, server.pause, server.resume, server.kill, server.close):
        act()

    verbs = [command[1] for command in commands]
    assert verbs == ["run", "exec", "stop", "start", "pause", "unpause", "kill", "rm"]
    published = [part for part in commands[0] if part.count(":") == 2]
    assert len(published) == 2
    assert all(part.startswith("127.0.0.1:") for part in published)
    assert server.url("a/b").endswith("/a%2Fb")


def test_a_failing_docker_is_an_error(monkeypatch):
    monkeypatch.setattr(subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 1, "", "no image"))
    server = DockerRabbit()

    with pytest.raises(NoServerError, match="no image"):
        server.start()
    with pytest.raises(RuntimeError, match="no image"):
        server.ctl("status")
    assert not _docker.has_engine()


def test_a_free_port_speaks_nothing_and_neither_does_a_stranger():
    (port,) = free_ports(1)
    assert not speaks_amqp(port)

    with socket.create_server(("127.0.0.1", port)):
        assert not speaks_amqp(port)


def test_waiting_for_a_server_has_a_deadline():
    with pytest.raises(NoServerError, match="starting took longer"):
        wait_until(lambda: False, 0.1, "starting")
