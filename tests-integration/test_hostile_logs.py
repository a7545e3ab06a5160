"""What others write is one line of the log each, escaped and cut: a name, a type, an error, a handler's lines."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

from harness.processes import clean_environment, command
from harness.waiting import eventually
from harness.world import World
from task_contracts import limits
from task_runtime.testing import PseudoTerminal

STEERING = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202e"
FORGED = "00:00:00 [info] attempt_ended forged"
MODES = ("loop", "thread", "process")
HANDLERS = rf"""
import asyncio, logging, threading, time
import structlog
from task_worker import Context, Fail, handler

STEERING, FORGED = {STEERING!r}, {FORGED!r}
log = logging.getLogger("reports")
MESSAGE = f"broken {{STEERING}}\n{{FORGED}}"


class SilentError(Exception):
    def __str__(self):
        raise RuntimeError(STEERING)

    __repr__ = __str__


class Value:
    def __str__(self):
        raise RuntimeError(STEERING)

    __repr__ = __str__


def talk():
    log.info("logged %s\n%s", STEERING, FORGED)
    structlog.get_logger().info(f"bound {{STEERING}}\n{{FORGED}}", field=STEERING)
    print("printed", STEERING, "\n" + FORGED)
    log.info("value", extra={{"it": Value()}})
    log.info("%d", STEERING)
    raise ValueError(MESSAGE)


@handler("talk.loop", max_attempts=1)
async def on_loop():
    talk()


@handler("talk.thread", max_attempts=1)
def in_thread():
    talk()


@handler("talk.process", in_process=True, max_attempts=1)
def in_process():
    talk()


@handler("silent", max_attempts=1)
async def silent():
    raise SilentError


@handler("fail")
async def fail():
    raise Fail(MESSAGE, code=STEERING + "code")


@handler("own.thread", max_attempts=1)
def own_thread():
    thread = threading.Thread(target=talk)
    thread.start()
    thread.join()


@handler("large", max_attempts=1)
def large():
    raise ValueError("y" * 10_000_000) from ExceptionGroup("z" * 10_000_000, [KeyError("k" * 10_000_000)] * 50)


@handler("slow")
async def slow():
    await asyncio.sleep(600)


@handler("slow.thread")
def slow_in_thread(context: Context):
    while True:
        context.raise_if_stopped()
        time.sleep(0.02)
"""


@pytest.fixture
def handlers(tmp_path: Path) -> str:
    file = tmp_path / "hostile.py"
    file.write_text(HANDLERS)
    return str(file)


def events(log: str) -> list[dict[str, Any]]:
    """Return the lines of a log: each must be a JSON document, without a character that steers a terminal."""
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", log)
    return [json.loads(line) for line in log.splitlines()]


async def test_in_json_whatever_others_write_is_one_line_each_with_the_ids_of_its_attempt(
    world: World, handlers: str
) -> None:
    api = await world.api()
    worker = await world.worker(TASK_WORKER_HANDLERS=handlers, TASK_LOG_TASKS="all")
    types = [*(f"talk.{mode}" for mode in MODES), "silent", "fail", "own.thread"]
    ids = await api.create_all([{"type": type_, "name": f"a name {STEERING}"} for type_ in types])
    refused = await api.http.post("/api/v1/tasks", json={"name": "n", "type": STEERING})
    await world.settle()
    await worker.logged("attempt_ended", type="own.thread")
    await worker.logged("attempt_failed", times=len(types) - 1)

    assert refused.status_code == 422
    assert worker.output == api.process.output == ""
    assert events(api.process.log)
    lines = events(worker.log)
    failed = {line["type"]: line for line in lines if line["event"] == "attempt_failed"}
    assert "SilentError" in failed["silent"]["error"]
    assert failed["talk.loop"]["error"] == f"ValueError: broken {STEERING}\n{FORGED}"
    worker_id = lines[-1]["worker_id"]
    for task_id, mode in zip(ids, MODES, strict=False):
        own = [line for line in lines if line.get("task_id") == str(task_id)]
        assert [line["event"] for line in own] == [
            f"logged {STEERING}\n{FORGED}",
            f"bound {STEERING}\n{FORGED}",
            "handler_printed",
            "handler_printed",
            "value",
            "line_not_logged",
            "attempt_failed",
        ], mode
        assert {(line["attempt"], line["worker_id"]) for line in own} == {(1, worker_id)}
    (thread,) = [line for line in lines if line["event"] == "thread_failed"]
    assert thread["exception"].endswith(f"ValueError: broken {STEERING}\n{FORGED}")


async def test_a_failure_of_many_megabytes_is_bounded_in_the_log_in_the_row_and_in_memory(
    world: World, handlers: str
) -> None:
    worker = await world.worker(TASK_WORKER_HANDLERS=handlers)
    memory = psutil.Process(worker.pid).memory_info().rss
    api = await world.api()
    await api.create_all([{"type": "large"}] * 4)
    await world.settle()
    await worker.logged("attempt_failed", times=4)

    assert max(map(len, worker.log.splitlines())) < 64_000
    rows = await world.tables.attempts()
    assert {len(row["traceback"].encode()) <= limits.TRACEBACK_BYTES for row in rows} == {True}
    assert psutil.Process(worker.pid).memory_info().rss - memory < 200_000_000


@pytest.mark.parametrize("columns", [60, 100])
async def test_in_a_terminal_no_text_of_others_steers_it_or_looks_like_an_event(
    tmp_path: Path, handlers: str, columns: int
) -> None:
    with service(tmp_path, handlers, columns) as terminal:
        url = (await asyncio.to_thread(terminal.read_until, r"listening url=(\S+)"))[1]
        for type_ in (*(f"talk.{mode}" for mode in MODES), "silent", "fail", "own.thread"):
            await post(url, type_)
            await asyncio.to_thread(terminal.read_until, rf"attempt_(failed|ended)[^\[]*\btype={re.escape(type_)}\n")
        terminal.press("\x03")
        code = await asyncio.to_thread(terminal.end)

    assert code == 0
    assert not re.search(r"[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f\u202e]", "\n".join(terminal.lines))
    lines = [line.removeprefix("^C") for line in terminal.lines]
    log = lines[next(n for n, line in enumerate(lines) if "listening" in line) : -1]
    assert max(map(len, log)) <= columns
    begins = [line for line in log if not line.startswith("  ")]
    assert all(re.match(r"\d\d:\d\d:\d\d \[(info|warning|error)\]", line) for line in begins)
    assert not [line for line in begins if line.startswith(FORGED)]
    assert any("Traceback (most recent call last):" in line for line in log)


async def test_ctrl_c_says_what_is_waited_for_and_how_not_to_wait(tmp_path: Path, handlers: str) -> None:
    with service(tmp_path, handlers, 60, NO_COLOR="1", TASK_WORKER_DRAIN_SECONDS="600") as terminal:
        url = (await asyncio.to_thread(terminal.read_until, r"listening url=(\S+)"))[1]
        for type_ in ("slow", "slow", "slow.thread"):
            await post(url, type_)
        await eventually(lambda: running(url, 3), "all three run")

        terminal.press("\x03")
        await asyncio.to_thread(terminal.read_until, r"drain_began running=3 seconds=600[^[]*slow.thread\"")
        first = terminal.text
        terminal.press("\x03")
        code = await asyncio.to_thread(terminal.end)

    assert code == 0
    block, said = in_one_line(first.partition("listening")[0]), in_one_line(first)
    assert "(Ctrl-C stops it)" in block
    assert "warning" not in block
    assert "running tasks and requests may finish; Ctrl-C again does not wait for them" in said
    assert 'waits_for="2 of slow, 1 of slow.thread"' in said
    last = in_one_line(terminal.text[len(first) :])
    assert "running tasks and requests are not waited for" in last
    assert last.count("attempt_ended attempt=1 event_recorded=RELEASE") == 3
    assert "drain_ended unrecorded=0" in last
    assert "embedded_postgres_stopped" in last
    assert "Traceback" not in terminal.text


async def test_ctrl_c_of_an_idle_service_ends_it_at_once_and_says_little(tmp_path: Path, handlers: str) -> None:
    with service(tmp_path, handlers, 100, NO_COLOR="1") as terminal:
        await asyncio.to_thread(terminal.read_until, "leader_changed")
        terminal.press("\x03")

        assert await asyncio.to_thread(terminal.end) == 0

    said = in_one_line(terminal.text.partition("^C")[2])
    assert "drain_began running=0 seconds=30.0" in said
    assert not re.search("waits_for|warning|error|Traceback", said)


def service(folder: Path, handlers: str, columns: int, **settings: str) -> PseudoTerminal:
    words = [command("task-service"), "--data-dir", str(folder / "data"), "--port", "0", "--handlers", handlers]
    # Not measured: `harness.forked` says why.
    environment = {name: value for name, value in clean_environment().items() if not name.startswith("COVERAGE_")}
    return PseudoTerminal(words, columns, {**environment, "TERM": "xterm", **settings})


async def post(url: str, type_: str) -> None:
    async with httpx2.AsyncClient() as client:
        answer = await client.post(f"{url}/api/v1/tasks", json={"name": f"a name {STEERING}", "type": type_})
    assert answer.status_code == 201, answer.text


async def running(url: str, tasks: int) -> bool:
    async with httpx2.AsyncClient() as client:
        answer = await client.get(f"{url}/api/v1/tasks", params={"status": "IN_PROGRESS"})
    return len(answer.json()["items"]) == tasks


def in_one_line(text: str) -> str:
    """Return lines of a terminal as they were before they were wrapped."""
    return re.sub(r"\r?\n  (?=\S)", " ", text)
