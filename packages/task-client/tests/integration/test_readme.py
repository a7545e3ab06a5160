"""Every recipe of the README runs as it stands, against a fake service behind a real HTTP server."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from task_client import TaskClient
from task_client.testing import FakeService

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
SECTIONS = re.split(r"^#+ (?=[A-Za-z][^\n]*$)", README, flags=re.MULTILINE)[1:]
BLOCKS = {
    section.splitlines()[0]: block
    for section in SECTIONS
    for block in re.findall(r"^```python\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
}
URL = "http://localhost:9000"
CUSTOMER = {"labels": {"customer": "42"}}

SAID: dict[str, Callable[[list[str]], bool]] = {
    "task-client": lambda lines: lines == ["COMPLETED {'text': 'hello'}"],
    "Many tasks, as they end": lambda lines: len(lines) == 500 and all("COMPLETED {'n': " in line for line in lines),
    "Fan out, fan in": lambda lines: lines == ["6"],
    "Create once, however often the program runs": lambda lines: len(lines) == 2 and len(set(lines)) == 1,
    "Find out what became of a create": lambda lines: len(lines) == 1 and lines[0].endswith("COMPLETED"),
    "Give up waiting, and cancel": lambda lines: lines == ["still NEW", "CANCELLED"],
    "Show progress": lambda lines: lines[0] == "IN_PROGRESS 40.0" and lines[-1] == "COMPLETED 40.0",
    "Be told of each failure": lambda lines: len(lines) == 1 and lines[0].startswith("failed: "),
    "Run again what has failed": lambda lines: lines == ["3 would run again", "3 so far", "3 run again"],
    "Cancel a whole campaign": lambda lines: lines == ["2 cancelled"],
    "Let one go first, or later": lambda lines: lines == ["HIGH True"],
    "Look at what has failed, with payloads": lambda lines: len(lines) == 3 and all("{'n': " in line for line in lines),
    "See what is wrong": lambda lines: (
        lines[0].startswith("3 mail.send ConnectionError") and "no live worker offers the type slow" in lines[-1]
    ),
    "Asynchronous": lambda lines: len(lines) == 10 and all(line.endswith("COMPLETED") for line in lines),
    "Test your own code without a service": lambda lines: lines == [],
}
"""What each recipe prints."""


@pytest.fixture
def given(fake: FakeService, service: Any) -> Iterator[dict[str, Any]]:
    """The names that a recipe finds: a client of a service with tasks, and a task that waits."""

    @fake.on("words.count")
    def count(payload: dict[str, Any]) -> int:
        return len(payload["text"].split())

    @fake.on("mail.send")
    def send(payload: dict[str, Any]) -> None:
        raise ConnectionError(f"no mail server for {payload}")

    with TaskClient(service.url) as client:
        client.create_many([{"name": "mail", "type": "mail.send", "payload": {"n": n}, **CUSTOMER} for n in range(3)])
        client.create_many([{"name": "ad", "type": "slow", "labels": {"campaign": "spring"}}] * 2)
        client.create(name="invoice 4711", payload={"order": 4711}, key="invoice-4711")
        yield {"client": client, "task": client.create(name="slow", type="slow")}


def work_on(title: str, fake: FakeService, service: Any, task_id: Any) -> None:
    """Do what happens while a recipe listens."""
    while not any("/events" in request for request in service.requests):
        threading.Event().wait(0.01)
    if title == "Show progress":
        fake.complete(task_id)
        return
    with fake.client() as client:
        client.create(name="mail", type="mail.send")


def test_the_readme_has_twelve_recipes_and_each_is_tested() -> None:
    assert set(BLOCKS) == set(SAID)
    assert len(BLOCKS) >= 12


@pytest.mark.parametrize("title", BLOCKS)
def test_a_recipe_does_what_it_says(
    title: str, given: dict[str, Any], fake: FakeService, service: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    task_id = given["task"].id
    if title == "Show progress":
        fake.begin(task_id)
        fake.progress(task_id, 40)
    worker = threading.Thread(target=work_on, args=(title, fake, service, task_id))
    if title in {"Show progress", "Be told of each failure"}:
        worker.start()

    exec(BLOCKS[title].replace(URL, service.url), given)
    for name, value in given.items():
        if name.startswith("test_"):
            value()
    if worker.ident is not None:
        worker.join()
    given["client"].close()

    assert SAID[title](capsys.readouterr().out.splitlines())
