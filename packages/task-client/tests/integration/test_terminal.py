"""The command `task-client` as a process: in a pseudo-terminal, in a pipe that closes, and with Ctrl-C."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from task_client.testing import FakeService
from task_client_cli._output import Format, Output
from task_client_cli._session import Session, find_server
from task_client_cli._watching import watch
from task_contracts import TaskStatus

SECONDS_MAX = 30.0
SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
ERASES = re.compile(r"\x1b\[[0-3]?[JK]")
COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-8]|9[0-7])(?:;\d+)*m")
HOME, LEAVE = "\x1b[H", "\x1b[?1049l"


class Terminal:
    """A pseudo-terminal of some size with the command in it."""

    def __init__(self, words: list[str], url: str, home: Path, columns: int, lines: int = 14, **env: str) -> None:
        self._file, child = pty.openpty()
        fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "task_client_cli", *words],
            stdin=child,
            stdout=child,
            stderr=child,
            start_new_session=True,
            env={"PATH": os.environ["PATH"], "HOME": str(home), "TERM": "xterm", "TASK_SERVER": url, **env},
        )
        os.close(child)
        self.text = ""

    def read_until(self, is_there: Callable[[str], bool]) -> str:
        """Read until the text of the terminal is as expected, and return it."""
        end = time.monotonic() + SECONDS_MAX
        while not is_there(self.text):
            assert time.monotonic() < end, self.text[-2_000:]
            if not self._read(0.1) and self.process.poll() is not None and not self._read(0.1):
                assert is_there(self.text), self.text[-2_000:]
        return self.text

    def type(self, text: str) -> None:
        os.write(self._file, text.encode())

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def end(self) -> int:
        """Read up to the end of the process, and return its exit code."""
        end = time.monotonic() + SECONDS_MAX
        while self.process.poll() is None:
            assert time.monotonic() < end, self.text[-2_000:]
            self._read(0.1)
        while self._read(0.1):
            pass
        return self.process.returncode

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._file)

    def _read(self, seconds: float) -> bool:
        if not select.select([self._file], [], [], seconds)[0]:
            return False
        try:
            block = os.read(self._file, 1 << 16)
        except OSError:  # the other end is closed
            return False
        self.text += block.decode(errors="replace")
        return bool(block)


def wait_for(is_so: Callable[[], object]) -> None:
    end = time.monotonic() + SECONDS_MAX
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.01)


Open = Callable[..., Terminal]


@pytest.fixture
def open_terminal(tmp_path: Path, service: Any) -> Iterator[Open]:
    with contextlib.ExitStack() as stack:

        def start(*words: str, columns: int = 100, url: str = service.url, **env: str) -> Terminal:
            terminal = Terminal([*words], url, tmp_path, columns, **env)
            stack.callback(terminal.close)
            return terminal

        yield start


def running(fake: FakeService, count: int) -> list[Any]:
    with fake.client() as client:
        tasks = client.create_many([{"name": f"\x1b[2J run {n}", "type": "slow"} for n in range(count)])
    return [fake.begin(task.id) for task in tasks]


def plain(text: str) -> list[str]:
    return SEQUENCE.sub("", text).replace("\r", "").split("\n")


@pytest.mark.parametrize("columns", [60, 100, 200])
def test_a_table_fits_the_terminal_and_shows_no_others_sequences(
    open_terminal: Open, fake: FakeService, columns: int
) -> None:
    running(fake, 3)

    terminal = open_terminal("list", columns=columns)

    assert terminal.end() == 0
    shown = plain(terminal.text)
    assert max(map(len, shown)) <= columns
    assert shown[0].startswith("ID ")
    assert sum("IN_PROGRESS" in line and "\\u001b[2J" in line for line in shown) == 3
    assert "\x1b[2J" not in terminal.text


@pytest.mark.parametrize("words", ["stats", "queues", "demand default", "errors", "workers", "types", "--help"])
def test_what_is_looked_at_fits_a_narrow_terminal(open_terminal: Open, fake: FakeService, words: str) -> None:
    for task in running(fake, 2):
        fake.fail(task.id, "a message that is far too long for one line of a terminal as narrow as this one is \x1b[2J")

    terminal = open_terminal(*words.split(), columns=60)

    assert terminal.end() == 0
    assert max(map(len, plain(terminal.text))) <= 60
    assert "\x1b[2J" not in terminal.text


def test_a_list_of_failures_says_why(open_terminal: Open, fake: FakeService) -> None:
    for task in running(fake, 2):
        fake.fail(task.id, "no such customer")

    terminal = open_terminal("list", "--status", "failed")

    assert terminal.end() == 0
    assert terminal.text.count("no such customer") == 2


def test_colours_are_for_terminals_without_no_color(open_terminal: Open, fake: FakeService) -> None:
    running(fake, 1)

    coloured, plainly = open_terminal("list"), open_terminal("list", NO_COLOR="1")

    assert (coloured.end(), plainly.end()) == (0, 0)
    assert "\x1b[36m" in coloured.text
    assert not COLOUR.search(plainly.text)


def test_what_is_drawn_has_no_colours_where_none_are_wanted(
    open_terminal: Open, fake: FakeService, tmp_path: Path
) -> None:
    (task,) = running(fake, 1)
    fake.fail(task.id)
    path = tmp_path / "tasks.jsonl"
    path.write_text('{"name": "n", "type": "slow"}\n')

    for words in (("watch", str(task.id)), ("create-many", str(path))):
        coloured, plainly = open_terminal(*words), open_terminal(*words, NO_COLOR="1")

        assert (coloured.end(), plainly.end()) == (0, 0)
        assert COLOUR.search(coloured.text)
        assert not COLOUR.search(plainly.text)


def test_watch_draws_over_itself_and_never_erases(open_terminal: Open, fake: FakeService) -> None:
    tasks = running(fake, 1_000)
    terminal = open_terminal("watch", "--every", "0.2", columns=60)
    terminal.read_until(lambda text: "running 1000" in text)
    for percent in (10, 20, 30):
        fake.progress(tasks[-1].id, percent)
        terminal.read_until(lambda text, percent=percent: f"{percent}%" in text)

    terminal.interrupt()

    assert terminal.end() == 130
    frames = terminal.text.split(HOME)[1:]
    assert len(frames) >= 5
    after_first = HOME.join(frames[1:]).partition(LEAVE)
    assert not ERASES.search(after_first[0])
    assert all(len(line) <= 60 for frame in frames for line in plain(frame.partition(LEAVE)[0]))
    assert after_first[1] == LEAVE  # the terminal is as it was
    assert "stopped" in after_first[2]


def test_a_frame_is_one_write(fake: FakeService, service: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

        def write(self, text: str) -> int:
            written.append(text)
            return len(text)

    tasks = running(fake, 100)
    monkeypatch.setattr(sys, "stdout", Terminal())
    for name, value in {"TERM": "xterm", "COLUMNS": "100", "LINES": "60"}.items():
        monkeypatch.setenv(name, value)
    seen = [len(written)]

    def progress() -> None:
        for percent in (10, 20, 30):
            fake.progress(tasks[-1].id, percent)
            wait_for(lambda percent=percent: any(f"{percent}%" in text for text in written))
        seen.append(len(written))
        for task in tasks:
            fake.complete(task.id)

    session = Session(find_server(service.url, None), Output(Format.TEXT))
    with contextlib.closing(session), ThreadPoolExecutor() as pool:
        changes = pool.submit(progress)
        watch(session, [str(task.id) for task in tasks[-50:]], 0.2)
        changes.result()

    frames = [text for text in written[: seen[-1]] if HOME in text]
    assert len(frames) >= 3
    assert all(text.count("IN_PROGRESS") == 50 for text in frames if "connected, as of" in text)
    assert not [text for text in written[: seen[-1]] if HOME not in text and "IN_PROGRESS" in text]


def test_watch_shows_a_broken_connection_and_goes_on(
    open_terminal: Open, fake: FakeService, serve: Callable[..., Any]
) -> None:
    running(fake, 3)
    server = serve()
    terminal = open_terminal("watch", "--every", "0.2", url=server.url)
    terminal.read_until(lambda text: "connected, as of" in text and "run 2" in text)

    server.stop()
    terminal.read_until(lambda text: "NOT REACHED, last answer" in text)
    seen = len(terminal.text)
    again = serve(server.server_address[1])
    terminal.read_until(lambda text: "connected, as of" in text[seen:])

    assert again.requests
    last_of_broken = terminal.text[:seen].split(HOME)[-1]
    assert "run 2" in last_of_broken  # what was known stays there
    assert "Connection refused" in terminal.text


def test_watch_of_ids_ends_with_them(open_terminal: Open, fake: FakeService) -> None:
    (task,) = running(fake, 1)
    terminal = open_terminal("watch", str(task.id), "--every", "0.2")
    terminal.read_until(lambda text: "IN_PROGRESS" in text)

    fake.complete(task.id)

    assert terminal.end() == 0
    assert "COMPLETED" in terminal.text.partition(LEAVE)[2]


def test_the_progress_bar_shows_what_the_service_has_confirmed(
    open_terminal: Open, fake: FakeService, service: Any, tmp_path: Path
) -> None:
    path = tmp_path / "tasks.jsonl"
    path.write_text("".join(json.dumps({"name": f"n{n}", "type": "slow"}) + "\n" for n in range(2_500)))
    service.trouble = ["", "hang"]
    terminal = open_terminal("create-many", str(path))

    terminal.read_until(lambda text: "1000/2500" in text)
    wait_for(lambda: len(service.requests) >= 2)
    terminal._read(1.0)
    before = {int(count) for count in re.findall(r"(\d+)/2500", terminal.text)}
    confirmed = len(fake.tasks)
    service.release.set()

    assert (max(before), confirmed) == (1_000, 1_000)
    assert terminal.end() == 0
    assert "2500/2500" in terminal.text
    assert len(fake.tasks) == 2_500


@pytest.mark.parametrize(
    ("answer", "code", "status"), [("y\n", 0, TaskStatus.CANCELLED), ("n\n", 130, TaskStatus.NEW), ("\n", 130, "NEW")]
)
def test_a_change_in_bulk_is_asked_for_by_name_and_number(
    open_terminal: Open, fake: FakeService, service: Any, answer: str, code: int, status: str
) -> None:
    with fake.client() as client:
        client.create_many([{"name": "t", "type": "slow"}] * 3)
    add = open_terminal("context", "add", "prod", service.url)
    assert add.end() == 0
    terminal = open_terminal("cancel", "--type", "slow", url="")
    terminal.read_until(lambda text: "[y/N]" in text)

    terminal.type(answer)

    assert terminal.end() == code
    assert f"cancel 3 tasks (type=slow) on {service.url} (context prod)? [y/N]" in terminal.text
    assert {task.status for task in fake.tasks} == {status}


@pytest.mark.parametrize("words", ["list --all", "list --all --json", "list --all --jsonl"])
def test_a_pipe_that_closes_ends_the_command_in_silence(
    fake: FakeService, service: Any, tmp_path: Path, words: str
) -> None:
    running(fake, 2_000)
    command = f"'{sys.executable}' -m task_client_cli {words} | head -n 1; echo ${{PIPESTATUS[0]}}"

    ended = subprocess.run(
        ["bash", "-c", command],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TASK_SERVER": service.url},
    )

    assert (len(ended.stdout.splitlines()), ended.stdout.splitlines()[1], ended.stderr) == (2, "0", "")


def test_a_watch_ends_with_who_read_it(fake: FakeService, service: Any, tmp_path: Path) -> None:
    command = f"set -o pipefail; '{sys.executable}' -m task_client_cli watch | head -n 1"
    with subprocess.Popen(
        ["bash", "-c", command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TASK_SERVER": service.url},
    ) as process:
        wait_for(lambda: any("/events" in request for request in service.requests))
        wait_for(lambda: running(fake, 1) and process.poll() is not None)
        out, err = process.communicate(timeout=SECONDS_MAX)

    assert (process.returncode, len(out.splitlines()), err) == (0, 1, "")


def test_a_reader_that_goes_does_not_keep_a_file_from_being_created(
    fake: FakeService, service: Any, tmp_path: Path
) -> None:
    lines = "".join(json.dumps({"name": f"n{n}", "type": "slow"}) + "\n" for n in range(5_000))
    command = f"'{sys.executable}' -m task_client_cli create-many - | head -n 1"

    ended = subprocess.run(
        ["bash", "-c", command],
        input=lines,
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TASK_SERVER": service.url},
    )

    assert len(fake.tasks) == 5_000
    assert "5000 tasks of - are created" in ended.stderr


def test_ctrl_c_ends_a_wait_with_130(open_terminal: Open, fake: FakeService, service: Any) -> None:
    (task,) = running(fake, 1)
    terminal = open_terminal("wait", str(task.id))
    wait_for(lambda: service.requests)

    terminal.interrupt()

    assert terminal.end() == 130
    assert "stopped" in terminal.text
    assert "Traceback" not in terminal.text


def test_wait_shows_a_broken_connection_and_goes_on(
    open_terminal: Open, fake: FakeService, serve: Callable[..., Any]
) -> None:
    (task,) = running(fake, 1)
    server = serve()
    terminal = open_terminal("wait", str(task.id), url=server.url)
    wait_for(lambda: server.requests)

    server.stop()
    terminal.read_until(lambda text: "trying again" in text)
    fake.complete(task.id, {"answer": 42})
    serve(server.server_address[1])

    assert terminal.end() == 0
    assert '{"answer": 42}' in terminal.text
    assert "Traceback" not in terminal.text


def test_watch_ends_where_the_service_refuses(open_terminal: Open, fake: FakeService) -> None:
    missing, refused = (
        open_terminal("watch", "019a0000-0000-7000-8000-000000000001"),
        open_terminal("watch", "--fingerprint", "x"),
    )

    assert (missing.end(), refused.end()) == (3, 3)
    assert "no task has the id" in missing.text
    assert "query.fingerprint" in refused.text


def test_watch_in_a_pipe_survives_a_broken_connection_and_says_so(
    fake: FakeService, serve: Callable[..., Any], tmp_path: Path
) -> None:
    (task,) = running(fake, 1)
    server = serve()
    with subprocess.Popen(
        [sys.executable, "-m", "task_client_cli", "watch", str(task.id)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TASK_SERVER": server.url},
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        first = process.stdout.readline()
        server.stop()
        warned = process.stderr.readline()
        serve(server.server_address[1])
        fake.complete(task.id)
        rest, _ = process.communicate(timeout=SECONDS_MAX)

    assert first.split("\t")[1] == "IN_PROGRESS"
    assert "trying again" in warned
    assert rest.splitlines()[-1].split("\t")[:2] == [str(task.id), "COMPLETED"]
    assert process.returncode == 0
