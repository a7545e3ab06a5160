"""The commands of docs/api.md that change tasks, or say what happens, do what is said there."""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from task_contracts import Demand, Reason

API = "/api/v1"
TASKS = f"{API}/tasks"
PAGE = (Path(__file__).parents[4] / "docs" / "api.md").read_text(encoding="utf-8")
STATUS_BY_SECTION = {
    "What waits and runs": None,
    "What failed, and why": None,
    "Change a waiting task": "NEW",
    "Rerun one": "PENDING",
    "Cancel or rerun many": None,
    "Why a task is where it is": "NEW",
    "Workers, types, versions": None,
}
Create = Callable[..., Awaitable[dict[str, Any]]]


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def commands(title: str) -> list[str]:
    return re.findall(r"^ *\$ curl (.*)$", section(title), re.MULTILINE)


async def run(client: httpx2.AsyncClient, command: str, task_id: str) -> httpx2.Response:
    """Send what curl would."""
    words = iter(shlex.split(command.replace("$API", API).replace("$TASK", task_id)))
    method, path, body, headers = "GET", "", None, {}
    for word in words:
        match word:
            case "-X":
                method = next(words)
            case "-H":
                name, _, value = next(words).partition(": ")
                headers[name] = value
            case "-d":
                body, method = next(words), "POST" if method == "GET" else method
            case _:
                path = word
    return await client.request(method, path, content=body, headers=headers)


@pytest.mark.parametrize("title", STATUS_BY_SECTION)
async def test_every_command_is_answered_as_its_section_says(
    title: str, client: httpx2.AsyncClient, create: Create
) -> None:
    task = await create(queue="reports", labels={"customer": "42"})
    if title == "Rerun one":
        await client.delete(f"{TASKS}/{task['id']}")
    assert commands(title)

    for command in commands(title):
        answer = await run(client, command, task["id"])

        assert answer.status_code == 200, (command, answer.text)
        assert answer.json().get("status") == STATUS_BY_SECTION[title]


async def test_the_loop_over_cursors_changes_all(client: httpx2.AsyncClient, create: Create, worker: Any) -> None:
    ids = [(await create())["id"] for _ in range(3)]
    for task_id in ids:
        await worker.fail(task_id)
    (code,) = re.findall(r"```python\n(.*?)```", section("Cancel or rerun many"), re.DOTALL)
    calls = []

    class Http:
        """Answers twice, the second time without a cursor."""

        def post(self, url: str, json: dict[str, Any]) -> httpx2.Response:
            calls.append((url, dict(json)))
            following = "a" * 40 if len(calls) < 2 else None
            request = httpx2.Request("POST", f"http://test{url}")
            return httpx2.Response(200, json={"changed": 2, "next_cursor": following}, request=request)

    exec(code, {"http": Http(), "api": API})  # the page's own

    assert [(url, body.get("cursor")) for url, body in calls] == [
        (f"{TASKS}/rerun", None),
        (f"{TASKS}/rerun", "a" * 40),
    ]
    answer = await client.post(calls[0][0], json=calls[0][1])
    assert answer.json()["changed"] == 3


def test_the_demand_that_is_shown_is_one_and_says_what_the_text_does() -> None:
    (shown,) = re.findall(r"```json\n(.*?)```", section("What waits and runs"), re.DOTALL)
    demand = Demand.model_validate_json(shown)

    assert json.loads(shown).keys() == Demand.model_fields.keys()
    assert demand.demand == demand.running + demand.waiting
    assert demand.desired_workers == math.ceil((demand.running + demand.waiting * 30 / 60) / 20)


def test_every_reason_is_on_the_page() -> None:
    listed = re.findall(
        r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", section("Why a task is where it is"), re.MULTILINE))
    )

    assert listed[0] == "reason"
    assert listed[1:] == [str(reason) for reason in Reason]
