"""The calls that say how the service fares: stats, queues and demand. They read what the leader has counted."""

from __future__ import annotations

import math
from collections.abc import Coroutine, Iterable, Sequence
from datetime import datetime
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from pydantic import TypeAdapter
from starlette.responses import Response

from task_api import examples
from task_api.bodies import strict_route
from task_api.deadlines import answer_within
from task_api.openapi import Responses, answer, errors
from task_api.parts import ApiParts
from task_api.problems import no_such_queue, unavailable
from task_api.queries import DemandQuery, refuse_repeats
from task_api.routes.answers import API, json_answer
from task_contracts import Activity, Demand, ItemList, Priority, PriorityState, QueueState, Stats, limits
from task_store import Capacity, QueueNow

_STATS, _QUEUES, _DEMAND = TypeAdapter(Stats), TypeAdapter(ItemList[QueueState]), TypeAdapter(Demand)

GET_STATS: Responses = {200: answer(Stats, "The service in one look", examples.STATS), **errors(unavailable())}
LIST_QUEUES: Responses = {
    200: answer(ItemList[QueueState], "The queues that exist", {"items": [examples.QUEUE]}),
    **errors(unavailable()),
}
GET_DEMAND: Responses = {
    200: answer(Demand, "How many workers the queue wants", examples.DEMAND),
    **errors(no_such_queue(["default"]), examples.WRONG_QUERY, unavailable()),
}


class InsightCalls:
    """The calls, one method each. They answer within `Deadlines.request_seconds`, or with a 503."""

    def __init__(self, parts: ApiParts) -> None:
        self._activities = parts.activities
        self._queues = parts.settings.queues
        self._seconds = parts.deadlines.request_seconds

    async def get_stats(self) -> Response:
        """Say what waits, runs and has happened in the last minutes, in all queues together."""
        return await self._answer(_STATS, self._stats())

    async def list_queues(self) -> Response:
        """Say of each queue what waits and runs, by priority, and how many workers take tasks from it."""
        return await self._answer(_QUEUES, self._all_queues())

    async def get_demand(self, queue: Annotated[str, Path()], query: Annotated[DemandQuery, Query()]) -> Response:
        """Say how many workers a queue wants: for autoscalers.

        Tasks that run count too, so that busy workers are not taken away.
        """
        if queue not in self._queues:
            raise no_such_queue(list(self._queues))
        return await self._answer(_DEMAND, self._demand(queue, query.target_wait_seconds))

    async def _answer(self, adapter: TypeAdapter[Any], work: Coroutine[Any, Any, Any]) -> Response:
        return json_answer(adapter.dump_json(await answer_within(self._seconds, work)))

    async def _stats(self) -> Stats:
        now, counted = await self._activities.queues_now()
        workers = (await self._activities.capacity()).get(None, Capacity())
        return Stats(
            at=min((one.at for one in counted), default=None),
            waiting=min(sum(one.waiting for one in counted), limits.TOTAL_MAX),
            waiting_is_capped=_is_capped(counted),
            running=sum(one.running for one in counted),
            oldest_wait_seconds=_oldest_wait(counted, now),
            live_workers=workers.live_workers,
            slots=workers.slots,
            rates=await self._activities.rates(),
        )

    async def _all_queues(self) -> ItemList[QueueState]:
        now, counted = await self._activities.queues_now()
        workers = await self._activities.capacity()
        of_queue = attrgetter("queue")
        by_queue = {queue: list(rows) for queue, rows in groupby(sorted(counted, key=of_queue), of_queue)}
        names = sorted({*self._queues, *by_queue})
        return ItemList(
            items=[_queue(name, by_queue.get(name, []), workers.get(name, Capacity()), now) for name in names]
        )

    async def _demand(self, queue: str, target_wait_seconds: float) -> Demand:
        now, counted = await self._activities.queues_now()
        counted = [one for one in counted if one.queue == queue]
        workers = (await self._activities.capacity()).get(queue, Capacity())
        waiting, running = sum(one.waiting for one in counted), sum(one.running for one in counted)
        run_seconds = _run_seconds(await self._activities.rates(queue), target_wait_seconds)
        work = running + waiting * min(1.0, run_seconds / target_wait_seconds)  # with a slot each, all begin at once
        return Demand(
            queue=queue,
            demand=running + waiting,
            waiting=waiting,
            running=running,
            oldest_wait_seconds=_oldest_wait(counted, now),
            desired_workers=_workers_for(work, workers),
        )


def add_insight_calls(router: APIRouter, parts: ApiParts) -> None:
    """Add the calls to the application's own router."""
    calls = InsightCalls(parts)
    add = partial(
        router.add_api_route, tags=["insight"], route_class_override=strict_route(parts.deadlines.body_seconds)
    )
    add(f"{API}/stats", calls.get_stats, operation_id="get_stats", responses=GET_STATS)
    add(f"{API}/queues", calls.list_queues, operation_id="list_queues", responses=LIST_QUEUES)
    add(
        f"{API}/queues/{{queue}}/demand",
        calls.get_demand,
        operation_id="get_demand",
        dependencies=[Depends(refuse_repeats)],
        responses=GET_DEMAND,
    )


def _queue(name: str, counted: Sequence[QueueNow], workers: Capacity, now: datetime) -> QueueState:
    return QueueState(
        queue=name,
        waiting=min(sum(one.waiting for one in counted), limits.TOTAL_MAX),
        waiting_is_capped=_is_capped(counted),
        running=sum(one.running for one in counted),
        oldest_wait_seconds=_oldest_wait(counted, now),
        live_workers=workers.live_workers,
        slots=workers.slots,
        priorities=[
            PriorityState(
                priority=one.priority,
                waiting=one.waiting,
                waiting_is_capped=one.waiting_is_capped,
                running=one.running,
                oldest_due_at=one.oldest_due_at,
                oldest_wait_seconds=_oldest_wait([one], now),
                at=one.at,
            )
            for one in sorted(counted, key=_urgency)
        ],
    )


def _urgency(counted: QueueNow) -> int:
    return -list(Priority).index(counted.priority)


def _is_capped(counted: Sequence[QueueNow]) -> bool:
    is_over = sum(one.waiting for one in counted) > limits.TOTAL_MAX
    return is_over or any(one.waiting_is_capped for one in counted)


def _oldest_wait(counted: Iterable[QueueNow], now: datetime) -> float | None:
    oldest = min((one.oldest_due_at for one in counted if one.oldest_due_at is not None), default=None)
    return None if oldest is None else max(0.0, round((now - oldest).total_seconds(), 3))


def _workers_for(work: float, workers: Capacity) -> int:
    """Return how many workers have slots for `work`; while none lives to say how many a worker has, one for any."""
    if not workers.live_workers:
        return min(1, math.ceil(work))
    return math.ceil(work / max(1.0, workers.slots / workers.live_workers))


def _run_seconds(rates: Sequence[Activity], unknown: float) -> float:
    """Return how long a task runs: the mean of the longest time that is known, or `unknown`."""
    return next((one.mean_run_seconds for one in reversed(rates) if one.mean_run_seconds is not None), unknown)
