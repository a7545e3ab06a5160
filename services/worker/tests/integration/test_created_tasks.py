"""A handler that runs again creates nothing twice: each attempt sends the same keys."""

from __future__ import annotations

import asyncio
import json
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from task_contracts import KeyText, Task, TaskCreate
from task_contracts.testing import a_task
from task_store import Tasks

Create = Callable[..., Awaitable[Task]]
Ended = Callable[..., Awaitable[dict[str, Any]]]
Start = Callable[..., Awaitable[Any]]
Until = Callable[..., Awaitable[Any]]

HANDLERS = """
import threading
from concurrent.futures import ThreadPoolExecutor
from task_worker import Context, Fail, Retry, TaskCreate, handler

MAILS = [TaskCreate(name="mail", type="mail.send", payload={"to": to}) for to in ("ann", "bob", "bob")]
LAST = TaskCreate(name="last", type="mail.send", payload={"attempt": 0})

@handler("async")
async def on_a_loop(context: Context):
    for mail in MAILS:
        await context.client.create(mail)
    await context.client.create(LAST, key="last")
    if context.attempt == 1:
        raise Retry(after_seconds=0)

@handler("plain")
@handler("process", in_process=True)
def plain(context: Context):
    with ThreadPoolExecutor(3) as threads:
        list(threads.map(context.sync_client.create, MAILS if context.attempt == 1 else reversed(MAILS)))
    context.sync_client.create(LAST, key="last")
    if context.attempt == 1:
        raise Retry(after_seconds=0)

@handler("fails", max_attempts=1)
def fails(context: Context):
    context.sync_client.create(LAST)
    raise Fail("no")

@handler("hangs")
@handler("hangs.process", in_process=True)
def hangs(context: Context):
    for mail in MAILS:
        context.sync_client.create(mail)
    if context.attempt == 1:
        threading.Event().wait()
"""


class FakeApi:
    """Creates whatever it is asked to; `sent` are the keys and the names, in order, `authorizations` those headers."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []
        self.authorizations: set[str | None] = set()
        sent, authorizations = self.sent, self.authorizations

        class Answers(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = TaskCreate.model_validate_json(self.rfile.read(int(self.headers["Content-Length"])))
                authorizations.add(self.headers["Authorization"])
                sent.append((self.headers["Idempotency-Key"], json.dumps(asked.payload)))
                body = a_task(**asked.model_dump(exclude_none=True)).model_dump_json().encode()
                self.send_response(201)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def api() -> Iterator[FakeApi]:
    api = FakeApi()
    thread = threading.Thread(target=api.server.serve_forever, daemon=True)
    thread.start()
    yield api
    api.server.shutdown()
    api.server.server_close()
    thread.join()


@pytest.fixture
def handlers_file(tmp_path: Path) -> Path:
    path = tmp_path / "creating.py"
    path.write_text(HANDLERS)
    return path


@pytest.mark.parametrize("type_", ["async", "plain", "process"])
async def test_an_attempt_after_a_failure_sends_the_same_keys(
    start: Start, create: Create, ended: Ended, api: FakeApi, handlers_file: Path, type_: str
) -> None:
    key = str(KeyText.new())
    await start(handlers=str(handlers_file), api_url=api.url, api_key=key)

    row = await ended((await create(type_)).id)

    assert api.authorizations == {f"Bearer {key}"}
    first, second = api.sent[:4], api.sent[4:]
    assert (row["status"], row["attempt"]) == ("COMPLETED", 2)
    assert sorted(first) == sorted(second)
    assert len({key for key, _ in first}) == 4
    assert all(key.startswith(f"{row['id']}:0:") for key, _ in first)
    assert first[-1][0] == f"{row['id']}:0:key:last"


@pytest.mark.parametrize("type_", ["hangs", "hangs.process"])
async def test_an_attempt_after_a_lost_worker_sends_the_same_keys(
    start: Start,
    create: Create,
    ended: Ended,
    until: Until,
    api: FakeApi,
    worker_process: Callable[..., Awaitable[asyncio.subprocess.Process]],
    handlers_file: Path,
    type_: str,
) -> None:
    process = await worker_process(handlers_file, api_url=api.url, lease_seconds=1.5)
    task = await create(type_)
    await until(lambda: len(api.sent) == 3)
    process.send_signal(signal.SIGKILL)
    await process.wait()

    await start(handlers=str(handlers_file), api_url=api.url, lease_seconds=1.5)
    row = await ended(task.id)

    assert (row["status"], row["lost_count"]) == ("COMPLETED", 1)
    assert api.sent[:3] == api.sent[3:]
    assert len(set(api.sent)) == 3


async def test_a_rerun_creates_anew(
    start: Start,
    create: Create,
    ended: Ended,
    tasks: Tasks,
    wake: Callable[[], None],
    api: FakeApi,
    handlers_file: Path,
) -> None:
    await start(handlers=str(handlers_file), api_url=api.url)
    task = await create("fails")
    await ended(task.id)

    await tasks.rerun(task.id)
    wake()
    await ended(task.id)

    assert len({key for key, _ in api.sent}) == len(api.sent) == 2
