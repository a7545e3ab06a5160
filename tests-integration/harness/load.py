"""A steady load of every kind of task, sent to several APIs in turn, that remembers what must become of each task."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID

from harness.api import BATCH, TASKS, Api, Json, ids_of
from harness.tables import Row
from harness.waiting import eventually

_PRIORITIES = ("HIGH", "MEDIUM", "LOW")
_ROUND_SECONDS = 0.25
_SOON = timedelta(seconds=1)
_NEVER = timedelta(hours=1)


@dataclass(frozen=True)
class Outcome:
    """What must become of a task: its status, and its result or the code of its error."""

    status: str
    result: Any = None
    code: str | None = None


Asked = tuple[Json, Outcome]
_CANCELLED = Outcome("CANCELLED")


@dataclass(frozen=True)
class Sent:
    """A request that was accepted: the API that took it, and the tasks that it answered."""

    api: Api
    path: str
    body: Json
    key: str | None
    ids: list[UUID]

    async def repeat(self, api: Api) -> None:
        """Send it once more, to any API, which must answer the same tasks and say that it is a repeat."""
        answer = await api.send(self.path, self.body, key=self.key)
        assert answer.status_code == 201, f"{api.process.name} refused a repeat: {answer.text}"
        assert ids_of(answer.json()) == self.ids, f"{api.process.name} created other tasks for a repeat"
        assert answer.headers.get("idempotency-replayed") == "true"


class Load:
    """Sends rounds of requests, each to the next of `apis`, which may change meanwhile. What is refused fails it."""

    def __init__(self, *apis: Api) -> None:
        self.apis = [*apis]
        self.sent: list[Sent] = []
        self.outcomes: dict[UUID, Outcome] = {}
        self._rounds = 0
        self._turns = count()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Send, a round every quarter of a second, until the end of the block; then all that was sent is answered."""
        is_over = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._run(is_over))
            yield
            is_over.set()

    async def more(self, rounds: int = 1) -> None:
        """Wait until so many more rounds are answered; the one that is on its way counts."""
        enough = self._rounds + rounds
        await eventually(lambda: self._rounds >= enough, f"{rounds} more rounds of the load")

    async def leave(self, api: Api) -> None:
        """Send nothing more to an API, and return once all that it was sent is answered."""
        self.apis.remove(api)
        await self.more()

    def keyed(self) -> list[Sent]:
        """Return what may be repeated."""
        return [sent for sent in self.sent if sent.key is not None]

    def surprises(self, rows: Sequence[Row]) -> list[str]:
        """Return a line for each task that was accepted and did not come to what it must."""
        found = {row["id"]: _outcome_of(row) for row in rows}
        return [
            f"{task_id} must be {outcome} and is {found.get(task_id, 'gone')}"
            for task_id, outcome in self.outcomes.items()
            if found.get(task_id) != outcome
        ]

    async def _run(self, is_over: asyncio.Event) -> None:
        endless: list[UUID] = []
        while not is_over.is_set():
            # Those of the round before, which run by now or have a time that never comes.
            endless, _ = await asyncio.gather(self._send_round(), self._cancel(endless))
            self._rounds += 1
            await asyncio.sleep(_ROUND_SECONDS)
        await self._cancel(endless)

    async def _send_round(self) -> list[UUID]:
        """Send one task of each kind, and a batch; return the tasks that end only when they are cancelled."""
        number = self._rounds * 2
        singles = [*_ending(number), *_endless()]
        created = await asyncio.gather(
            *(
                self._send(TASKS, [one], f"one-{number}-{place}" if place % 2 else None)
                for place, one in enumerate(singles)
            ),
            self._send(BATCH, _ending(number + 1), f"batch-{number}"),
        )
        return [task_id for ids in created for task_id in ids if self.outcomes[task_id] == _CANCELLED]

    async def _send(self, path: str, asked: Sequence[Asked], key: str | None) -> list[UUID]:
        api, turn = self._next()
        tasks = [
            {"name": f"of the load, {turn}", "priority": _PRIORITIES[(turn + place) % 3], **task}
            for place, (task, _) in enumerate(asked)
        ]
        body = {"tasks": tasks} if path == BATCH else tasks[0]
        answer = await api.send(path, body, key=key)
        assert answer.status_code == 201, f"{api.process.name} refused a task: {answer.status_code} {answer.text}"
        ids = ids_of(answer.json())
        self.sent.append(Sent(api, path, body, key, ids))
        self.outcomes.update(zip(ids, (outcome for _, outcome in asked), strict=True))
        return ids

    async def _cancel(self, ids: Sequence[UUID]) -> None:
        for task_id in ids:
            api, _ = self._next()
            answer = await api.cancel(task_id)
            assert answer.status_code in {200, 202}, f"{api.process.name} refused to cancel: {answer.text}"

    def _next(self) -> tuple[Api, int]:
        turn = next(self._turns)
        return self.apis[turn % len(self.apis)], turn


def _ending(number: int) -> list[Asked]:
    """Return a task of each kind that comes to an end by itself, and how it must end."""
    given = {"number": number}
    return [
        ({"payload": given}, Outcome("COMPLETED", given)),
        ({"payload": given, "run_at": _after(_SOON)}, Outcome("COMPLETED", given)),
        ({"type": "lasting.double", "payload": given}, Outcome("COMPLETED", number * 2)),
        ({"type": "lasting.resume", "payload": given}, Outcome("COMPLETED", number)),
        ({"type": "lasting.fail"}, Outcome("FAILED", code="hopeless")),
    ]


def _endless() -> list[Asked]:
    """Return a task that runs until it is cancelled, and one that waits until then."""
    return [({"type": "lasting.wait"}, _CANCELLED), ({"run_at": _after(_NEVER)}, _CANCELLED)]


def _after(delay: timedelta) -> str:
    return (datetime.now(UTC) + delay).isoformat()


def _outcome_of(row: Row) -> Outcome:
    result, error = (json.loads(row[name]) if row[name] is not None else None for name in ("result", "error"))
    return Outcome(row["status"], result, error and error["code"])
