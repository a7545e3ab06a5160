"""The commands of docs/api.md on waiting and on streams do what stands there."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from task_contracts import TaskState

PAGE = (Path(__file__).parents[4] / "docs" / "api.md").read_text(encoding="utf-8")
SECTIONS = "".join(
    re.findall(r"^## (?:Wait for a task|Streams of events)\n.*?(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
)
COMMANDS = re.findall(r"^\$ curl (.+)$", SECTIONS, re.MULTILINE)
EVENT = re.search(r"^data: (.+)\nid: (.+)$", SECTIONS, re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
async def test_each_command_is_answered(
    command: str, live_client: httpx2.AsyncClient, create: Callable[..., Awaitable[dict[str, Any]]]
) -> None:
    """Each `wait` is shortened."""
    task = await create()
    words = shlex.split(command.replace("'$TASK'", task["id"]).replace("$TASK", task["id"]).replace("=30", "=1"))
    headers: dict[str, str] = {}
    url = body = None
    while words:
        match words.pop(0):
            case "-N":
                pass
            case "-H":
                name, _, headers[name] = words.pop(0).partition(": ")
            case "-d":
                body = words.pop(0)
            case word:
                url = word.replace("$API", "/api/v1")
    assert url is not None

    async with live_client.stream("POST" if body else "GET", url, headers=headers, content=body) as answer:
        assert answer.status_code in (200, 201)
        is_stream = answer.headers["content-type"].startswith("text/event-stream")
        assert is_stream == ("/events" in url)
        assert ("preference-applied" in answer.headers) == ("Prefer" in headers)


def test_there_are_commands_of_every_kind() -> None:
    assert len(COMMANDS) == 7


def test_the_event_has_the_fields_of_a_status() -> None:
    assert EVENT is not None
    assert json.loads(EVENT[1]).keys() == TaskState.model_fields.keys()
    assert int(EVENT[2]) == json.loads(EVENT[1])["version"]
