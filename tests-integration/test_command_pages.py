"""What the pages show of `task-client`, typed into a terminal beside a real service.

With TASK_TEST_WRITE_PAGES set the captures of docs/command-line.md are made anew.
"""

from __future__ import annotations

import asyncio
import csv
import os
import re
import socket
import sys
from pathlib import Path

import pytest

from harness.api import Api
from harness.captures import Capture, Names, captures, rewritten, shape
from harness.pages import DOCS, Page
from harness.terminal import typed
from harness.waiting import eventually
from harness.world import World

MAILS, PAGES = 1_200, 12
QUEUES = {"TASK_QUEUES": "default,reports", "TASK_WORKER_QUEUES": "default"}
URL = "http://localhost:9000"
FAILURES_AFTER = {"task-client create-many mails.csv": MAILS, "task-client rerun --fingerprint": 2 * MAILS}
"""What is waited for after commands that have mails sent."""
HANDLERS = """
import asyncio

from pydantic import BaseModel

from task_worker import Context, handler


class Mail(BaseModel):
    to: str


class Page(BaseModel):
    number: int


@handler("mail", max_attempts=1)
async def send(payload: Mail) -> None:
    raise OSError("no mail host")


@handler("page")
async def render(payload: Page, context: Context) -> None:
    context.progress(payload.number * 8)
    await asyncio.Event().wait()
"""
MINUTES = """
INSERT INTO activity_minutes (minute, queue, priority, type, accepted, started, completed, failed, cancelled, retried,
                              wait_ms_sum, run_ms_sum)
SELECT date_trunc('minute', now()) + n * interval '1 minute', 'default', 'MEDIUM', 'echo', 240, 240, 236, 2, 0, 2,
       240 * 14, 240 * 310
  FROM generate_series(-1, 10) AS n
"""
"""Rates are of whole minutes, for which no test waits: so there was traffic in the last one, and is in all to come."""
BLOCKING = """
import time


@handler("hog")
async def hog() -> None:
    time.sleep(1.5)
"""
WRONG = '{"name": "page 1"}\n{"name": ""}\n{"nmae": "page 3"}\n'


class Shell:
    """A shell in a folder with files of tasks, beside an API; of its host, port and folders, the pages' names."""

    def __init__(self, api: Api, folder: Path) -> None:
        self.api = api
        self._folder = folder
        self._environment = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(folder)}
        self._ours_by_page = {
            URL: api.url,
            "/srv/handlers": str(folder),
            "/srv": str(DOCS.parent),
            "worker-1": socket.gethostname(),
        }

    async def type(self, line: str) -> tuple[int, tuple[str, ...]]:
        """Type a line; returns its exit code and what stands on the screen then."""
        live_until = "IN_PROGRESS" if line == "task-client watch" else ""
        done = await typed(line.replace(URL, self.api.url), self._environment, self._folder, live_until=live_until)
        return done.code, tuple(self._as_on_the_page(line) for line in done.lines)

    def _as_on_the_page(self, line: str) -> str:
        for page, ours in self._ours_by_page.items():
            line = line.replace(ours, page)
        return line


@pytest.fixture
async def shell(world: World) -> Shell:
    """A service with a queue that nobody serves, where some tasks have run and some run on and on."""
    (world.folder / "mails.py").write_text(HANDLERS)
    (world.folder / "wrong.jsonl").write_text(WRONG)
    with (world.folder / "mails.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["name", "type", "payload.to"])
        rows.writerows([f"mail {n}", "mail", f"customer-{n}@example.org"] for n in range(MAILS))
    handlers = {"TASK_WORKER_HANDLERS": str(world.folder / "mails.py")}
    api, _ = await asyncio.gather(world.api(**QUEUES), world.worker(**QUEUES, **handlers, TASK_WORKER_CONCURRENCY="50"))
    await world.tables.rows(MINUTES)
    await api.create(name="quarterly report", type="report.quarterly", queue="reports")
    await api.create_all([{"name": f"page {n}", "type": "page", "payload": {"number": n}} for n in range(PAGES)])

    async def is_counted() -> bool:
        stats = (await api.http.get("/api/v1/stats")).json()
        return (stats["waiting"], stats["running"]) == (1, PAGES)

    await eventually(is_counted, "what waits and runs is counted")
    return Shell(api, world.folder)


async def until_failures_are_counted(api: Api, count: int) -> None:
    async def is_counted() -> bool:
        groups = (await api.http.get("/api/v1/errors")).json()["items"]
        return bool(groups) and groups[0]["count"] == count

    await eventually(is_counted, "the failures are counted")


async def test_each_capture_of_the_page_is_what_the_command_shows(shell: Shell) -> None:
    page = Page.read("command-line.md").text
    names, today = Names(), []

    for capture in captures(page, "task-client"):
        line = names.today(capture.typed)
        _, lines = await shell.type(line)
        names.learn(capture.shown, lines)
        today.append((capture, Capture(line, lines)))
        for beginning, count in FAILURES_AFTER.items():
            if line.startswith(beginning):
                await until_failures_are_counted(shell.api, count)

    if os.environ.get("TASK_TEST_WRITE_PAGES"):
        (DOCS / "command-line.md").write_text(rewritten(page, today), encoding="utf-8")
    assert today
    for here, there in today:
        assert shape(there.shown) == shape(here.shown), here.typed


async def test_each_question_of_the_runbook_is_answered_by_its_commands(shell: Shell, world: World) -> None:
    commands_by_question = {
        row["question"]: re.findall(r"`((?:task-client|docker-compose) [^`]+)`", row["command"])
        for row in Page.read("runbook.md").rows(first="question")
    }
    api, (doomed,) = shell.api, [one for one in world.processes.all if one.name.startswith("task-worker")]
    await shell.type(f"task-client context add dev {URL}")
    mail = await api.create(name="mail", type="mail", payload={"to": "a"})
    await until_failures_are_counted(api, 1)
    (group,) = (await api.http.get("/api/v1/errors")).json()["items"]
    (report,), (page, *_) = [
        (await api.http.get("/api/v1/tasks", params={"type": type_})).json()["items"]
        for type_ in ("report.quarterly", "page")
    ]

    async def said(question: str, **names: object) -> str:
        """Type the commands of a question, with these names, and return all that they said."""
        lines: list[str] = []
        for command in commands_by_question.pop(question):
            line = command.replace("docker-compose -f deploy/compose.production.yml logs worker", "cat *.log")
            for name, value in names.items():
                line = re.sub(rf"\b{name}\b", str(value), line)
            code, shown = await shell.type(line)
            assert code == 0, (line, shown)
            lines += shown
        return "\n".join(lines)

    wrong = await said("What is wrong?")
    waiting = await said("How many tasks wait, and for how long?")
    working = await said("Which worker has what?", HOST=socket.gethostname(), PID=doomed.pid)
    slow = await said("Everything is slow: what holds it up?")
    stuck = await said("Why can a task not be cancelled?", TASK=page["id"])
    explained = await said("Why does a task not run?", TASK=report["id"])
    failed = await said("What failed in the last hour, and why?")
    traced = await said("What is the traceback of an attempt?", TASK=mail["id"])
    rerun = await said("How are all failures of one kind run again?", FINGERPRINT=group["fingerprint"])
    (world.folder / "hogs.py").write_text(HANDLERS + BLOCKING)
    survivor = await world.worker(**QUEUES, TASK_WORKER_HANDLERS=str(world.folder / "hogs.py"))
    doomed.kill()
    await survivor.logged("task_swept", task_id=page["id"])
    hog = await api.create(name="hog", type="hog")
    await survivor.logged("event_loop_blocked", task_id=hog["id"])
    held_up = await said("Now and then everything hangs: who holds it up?")
    starts = await said("Why do workers start again and again?")
    died = await said("Which process died?", TASK=page["id"])
    cancelled = await said("How is everything of a type cancelled?", TYPE="page")
    audited = await said("Who cancelled all these tasks?")

    assert commands_by_question == {}
    assert "no live worker serves reports" in wrong
    assert "OSError: no mail host" in wrong
    assert re.search(r"^reports +1 +0 +\S+s", waiting, re.MULTILINE)
    assert re.search(rf"^worker-1 +{doomed.pid} +12/50", working, re.MULTILINE)
    assert re.search(r"IN_PROGRESS.* page 3\b", working)
    assert re.search(rf"^worker-1 +{doomed.pid} +12/50", slow, re.MULTILINE)
    assert str(doomed.pid) in stuck
    assert all(
        re.search(f'process_started.*"pid": {pid}|"pid": {pid}.*process_started', starts)
        for pid in (doomed.pid, survivor.pid)
    )
    assert explained.startswith("Waits: no live worker")
    assert re.search(r"FAILED.* mail +OSError: no mail host", failed)
    assert 'raise OSError("no mail host")' in traced
    assert "1 of 1 task" in rerun
    assert f'"pid": {doomed.pid}' in died
    assert "RESCUE" in died
    assert f"pid {doomed.pid}" in died
    assert f'"task_id": "{hog["id"]}"' in held_up
    assert "time.sleep(1.5)" in held_up
    assert "12 of 12 tasks" in cancelled
    assert re.search(r"tasks\.cancel.* 12\b", audited)
