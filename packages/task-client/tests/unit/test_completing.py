"""How the ends of many tasks are found, step by step, with neither a network nor a clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any
from uuid import UUID

import httpx2
import pytest

from task_client import (
    ConnectionFailedError,
    NotFoundError,
    RepeatPolicy,
    Task,
    TaskPage,
    TaskStatus,
    TaskSummary,
    WaitTimeoutError,
)
from task_client._completing import IDS_OF_A_STREAM, STREAMS_MAX, Completion, in_order
from task_client._steps import Done, Emit, Flow, Hear, Listen, Send, StreamNews, Unlisten, Wait, advance
from task_client._watching import ChangesOfMany, ChangesOfOne
from task_contracts import TaskState
from task_contracts.testing import a_task, an_id

REPEATS = RepeatPolicy()
JSON = {"content-type": "application/json"}


class World:
    """A service as flows see it: lists of its tasks, and the news of streams, as they were given.

    `news` are functions that return what the next `Hear` says; where there are none, time passes.
    """

    def __init__(self, *tasks: Task) -> None:
        self.now = 1_000.0
        self.tasks = {task.id: task for task in tasks}
        self.news: deque[Callable[[], StreamNews | None]] = deque()
        self.listened: list[Listen] = []
        self.unlistened: list[int] = []
        self.lists: list[httpx2.QueryParams] = []
        self.emitted: list[Any] = []
        self.trouble: deque[httpx2.RequestError] = deque()

    def clock(self) -> float:
        return self.now

    def run(self, flow: Flow[None], count: int | None = None) -> list[Any]:
        outcome: Any = None
        while not isinstance(step := advance(flow, outcome), Done):
            outcome = self.do(step)
            if len(self.emitted) == count:
                break
        return self.emitted

    def do(self, step: Any) -> Any:
        match step:
            case Emit(item):
                self.emitted.append(item)
            case Listen():
                self.listened.append(step)
            case Unlisten(stream):
                self.unlistened.append(stream)
            case Wait(seconds):
                self.now += seconds
            case Hear(seconds):
                if self.news:
                    return self.news.popleft()()
                self.now += seconds
            case Send(call):
                return self.trouble.popleft() if self.trouble else self.answer(call)
        return None

    def answer(self, call: Any) -> httpx2.Response:
        params = httpx2.QueryParams(call.params)
        if "status" in call.path:
            (task,) = self.tasks.values()
            return httpx2.Response(200, content=task.model_dump_json(), headers=JSON)
        self.lists.append(params)
        ids, statuses = params.get_list("id"), params.get_list("status")
        found = [
            task
            for task in self.tasks.values()
            if (not ids or str(task.id) in ids) and (not statuses or task.status in statuses)
        ]
        page: TaskPage[Any] = (
            TaskPage[Task](items=found)
            if params.get("view")
            else TaskPage[TaskSummary](items=[TaskSummary.model_validate(task.model_dump()) for task in found])
        )
        return httpx2.Response(200, content=page.model_dump_json(), headers=JSON)

    def end(self, task: Task, status: TaskStatus = TaskStatus.COMPLETED) -> Task:
        self.tasks[task.id] = ended = task.model_copy(update={"status": status, "version": task.version + 1})
        return ended


def told(stream: int, task: Task, event_id: str = "7") -> StreamNews:
    data = TaskState.model_validate(task.model_dump()).model_dump_json()
    return StreamNews(stream, httpx2.ServerSentEvent(data=data, id=event_id))


def reset(stream: int) -> StreamNews:
    return StreamNews(stream, httpx2.ServerSentEvent(event="reset", data="{}", id="9"))


def completion(world: World, ids: Any, timeout_seconds: float | None = 600) -> Flow[None]:
    return Completion(ids, timeout_seconds, REPEATS, world.clock).run()


def test_what_a_stream_tells_is_read_whole_and_emitted_once() -> None:
    task, other = a_task(), a_task()
    world = World(task, other)
    world.news.extend(
        [
            lambda: StreamNews(1),
            lambda: None,
            lambda: told(1, world.end(task)),
            lambda: told(1, world.tasks[task.id]),
            lambda: None,
            lambda: told(1, world.end(other, TaskStatus.FAILED)),
        ]
    )

    assert world.run(completion(world, [task.id, other.id, task.id])) == list(world.tasks.values())
    assert len(world.listened) == 1
    assert world.now == 1_000


def test_what_ended_before_its_stream_lived_is_found_at_once() -> None:
    world = World(a_task(status=TaskStatus.CANCELLED))
    world.news.append(lambda: StreamNews(1))

    assert world.run(completion(world, world.tasks)) == list(world.tasks.values())
    assert world.now == 1_000


def test_of_nothing_nothing_is_asked() -> None:
    world = World()

    assert world.run(completion(world, [])) == []
    assert (world.listened, world.lists) == ([], [])


def test_a_silent_stream_costs_a_second() -> None:
    task = a_task()
    world = World(task)
    world.end(task)

    assert len(world.run(completion(world, [task.id]))) == 1
    assert world.now == pytest.approx(1_001)


@pytest.mark.parametrize(
    "news",
    [
        StreamNews(1, is_over=True),
        StreamNews(1, is_over=True, error=httpx2.ReadError("cut")),
        StreamNews(1, is_over=True, response=httpx2.Response(503)),
    ],
)
def test_a_stream_that_ends_is_opened_again_and_what_ended_meanwhile_is_found(news: StreamNews) -> None:
    task = a_task()
    world = World(task)

    def end() -> StreamNews:
        world.end(task)
        return StreamNews(1)

    world.news.extend([lambda: StreamNews(1), lambda: news, lambda: None, *[lambda: None] * 5])
    flow = completion(world, [task.id])
    outcome: Any = None
    while len(world.listened) < 2:
        step = advance(flow, outcome)
        assert not isinstance(step, Done)
        outcome = world.do(step)
    world.news.append(end)

    assert world.run(flow) == [world.tasks[task.id]]


def test_a_stream_that_is_refused_for_good_is_not_asked_for_again() -> None:
    task = a_task()
    world = World(task)
    refused = httpx2.Response(405, content=b"<html>", headers={"content-type": "text/html"})
    world.news.append(lambda: StreamNews(1, is_over=True, response=refused))

    with pytest.raises(WaitTimeoutError):
        world.run(completion(world, [task.id], timeout_seconds=30))
    assert len(world.listened) == 1
    assert 29 <= len(world.lists) <= 31


def test_a_reset_has_the_tasks_looked_up() -> None:
    task = a_task()
    world = World(task)

    def ended_unheard() -> StreamNews:
        world.end(task)
        return reset(1)

    world.news.extend([lambda: StreamNews(1), lambda: None, ended_unheard])

    assert len(world.run(completion(world, [task.id]))) == 1
    assert world.now == 1_000


def test_a_task_that_is_run_again_before_it_is_read_is_waited_for() -> None:
    task = a_task()
    world = World(task)
    ended = task.model_copy(update={"status": TaskStatus.FAILED, "version": 2})
    world.news.extend([lambda: StreamNews(1), lambda: None, lambda: told(1, ended), lambda: None])
    world.news.append(lambda: told(1, world.end(task)))

    assert [one.status for one in world.run(completion(world, [task.id]))] == [TaskStatus.COMPLETED]


def test_thousands_of_tasks_are_watched_by_a_stream_for_each_thousand_up_to_ten() -> None:
    tasks = [a_task() for _ in range(IDS_OF_A_STREAM * (STREAMS_MAX + 1))]
    world = World(*tasks)
    flow = completion(world, world.tasks)
    while len(world.listened) < STREAMS_MAX:
        step = advance(flow, None)
        assert isinstance(step, Listen)
        world.do(step)

    assert isinstance(advance(flow, None), Hear)
    assert all(step.call.method == "POST" for step in world.listened)


def test_tasks_beyond_the_streams_move_up_as_others_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("task_client._completing.IDS_OF_A_STREAM", 10)
    monkeypatch.setattr("task_client._completing.STREAMS_MAX", 1)
    tasks = [a_task() for _ in range(25)]
    world = World(*tasks)
    world.news.append(lambda: StreamNews(1))
    for task in tasks[:10]:
        world.news.append(lambda task=task: told(1, world.end(task)))  # type: ignore[misc]
    flow = completion(world, world.tasks)

    assert len(world.run(flow, count=10)) == 10
    outcome: Any = None
    while len(world.listened) < 2:
        step = advance(flow, outcome)
        assert not isinstance(step, Done)
        outcome = world.do(step)
    assert world.unlistened == [1]


def test_a_task_that_does_not_exist_is_named() -> None:
    known, unknown = a_task(), an_id()
    world = World(known)
    world.news.append(lambda: StreamNews(1))

    with pytest.raises(NotFoundError, match=str(unknown)):
        world.run(completion(world, [known.id, unknown]))


def test_the_deadline_names_what_has_not_ended() -> None:
    tasks = [a_task(), a_task(status=TaskStatus.COMPLETED)]
    world = World(*tasks)

    with pytest.raises(WaitTimeoutError) as raised:
        world.run(completion(world, world.tasks, timeout_seconds=5))
    assert raised.value.task_ids == (tasks[0].id,)
    assert world.emitted == [tasks[1]]
    assert world.now == pytest.approx(1_005)


def test_a_service_that_is_never_reached_ends_the_wait() -> None:
    world = World(a_task())
    world.trouble.extend([httpx2.ConnectError("refused")] * 1_000)

    with pytest.raises(ConnectionFailedError, match="refused"):
        world.run(completion(world, world.tasks, timeout_seconds=None))
    assert len(world.trouble) == 1_000 - REPEATS.tries


def test_a_service_that_goes_away_is_waited_for_to_the_deadline() -> None:
    task = a_task()
    world = World(task)

    def go_away() -> StreamNews:
        world.trouble.extend([httpx2.ConnectError("refused")] * 1_000)
        return StreamNews(1, is_over=True, error=httpx2.ReadError("cut"))

    world.news.extend([lambda: StreamNews(1), lambda: None, go_away])

    with pytest.raises(WaitTimeoutError) as raised:
        world.run(completion(world, [task.id], timeout_seconds=600))
    assert type(raised.value.__cause__) is ConnectionFailedError
    assert world.now == pytest.approx(1_600)


def test_news_that_never_cease_do_not_hold_up_the_deadline() -> None:
    task = a_task()
    world = World(task)

    def more() -> StreamNews:
        world.now += 0.01
        world.news.append(more)
        return told(1, task)

    world.news.append(more)

    with pytest.raises(WaitTimeoutError):
        world.run(completion(world, [task.id], timeout_seconds=60))


def test_ended_tasks_are_put_in_order() -> None:
    tasks = [a_task() for _ in range(3)]
    world = World(*tasks)
    world.news.append(lambda: StreamNews(1))
    for task in (tasks[2], tasks[0], tasks[1]):
        world.news.extend([lambda: None, lambda task=task: told(1, world.end(task))])  # type: ignore[misc]

    ids = [task.id for task in tasks]
    emitted = world.run(in_order(ids, completion(world, ids)))

    assert [task.id for task in emitted] == ids


def states(world: World) -> list[tuple[UUID, int]]:
    return [(state.id, state.version) for state in world.emitted]


def test_changes_of_one_task_are_told_once_each_up_to_its_end() -> None:
    task = a_task()
    world = World(task)
    begun = task.model_copy(update={"status": TaskStatus.IN_PROGRESS, "version": 2})
    ended = task.model_copy(update={"status": TaskStatus.COMPLETED, "version": 5})
    cut = StreamNews(1, is_over=True, error=httpx2.ReadError("cut"))
    news = [told(1, task, "1"), told(1, begun, "2"), cut, told(1, begun, "2"), told(1, ended, "5")]
    world.news.extend([lambda one=one: one for one in news])  # type: ignore[misc]

    world.run(ChangesOfOne(task.id, REPEATS).run())

    assert states(world) == [(task.id, 1), (task.id, 2), (task.id, 5)]
    assert [step.call.headers.get("Last-Event-ID") for step in world.listened] == [None, "2"]


def test_a_task_whose_stream_is_silent_is_looked_at_each_second() -> None:
    task = a_task(status=TaskStatus.FAILED)
    world = World(task)
    world.run(ChangesOfOne(task.id, REPEATS).run())

    assert states(world) == [(task.id, 1)]
    assert world.now == 1_001


def test_a_task_that_went_back_in_time_is_told_anew() -> None:
    task = a_task(version=7)
    back = task.model_copy(update={"version": 3, "status": TaskStatus.COMPLETED})
    world = World(back)
    world.news.extend([lambda: told(1, task), lambda: reset(1)])
    world.run(ChangesOfOne(task.id, REPEATS).run())

    assert states(world) == [(task.id, 7), (task.id, 3)]


def test_changes_of_many_are_resumed_and_after_a_reset_the_present_is_told() -> None:
    task, other = a_task(version=4), a_task(version=2)
    world = World(task, other)
    cut = StreamNews(1, is_over=True, error=httpx2.ReadError("cut"))
    world.news.extend([lambda: told(1, task, "11"), lambda: cut, lambda: told(1, task, "11"), lambda: reset(1)])
    world.run(ChangesOfMany({"labels": {"a": "1"}}, REPEATS).run(), count=3)

    assert states(world) == [(task.id, 4), (task.id, 4), (other.id, 2)]
    assert [step.call.headers.get("Last-Event-ID") for step in world.listened] == [None, "11"]
    assert world.lists[0].get_list("label") == ["a:1"]


def test_changes_of_a_task_that_does_not_exist_are_an_error() -> None:
    world = World()
    problem = {"title": "t", "status": 404, "detail": "d", "code": "task_not_found"}
    response = httpx2.Response(404, json=problem, headers={"content-type": "application/problem+json"})
    world.news.append(lambda: StreamNews(1, is_over=True, response=response))

    with pytest.raises(NotFoundError):
        world.run(ChangesOfOne(an_id(), REPEATS).run())


def test_after_a_reset_tasks_that_have_ended_are_no_news() -> None:
    running, failed = a_task(version=4), a_task(version=3, status=TaskStatus.FAILED)
    for status, expected in (
        (TaskStatus.FAILED, []),
        ([TaskStatus.FAILED, running.status], [(running.id, 4)]),
    ):
        world = World(running, failed)
        world.news.extend([lambda: reset(1), lambda: StreamNews(1, is_over=True), stop])
        with pytest.raises(StoppedError):
            world.run(ChangesOfMany({"status": status}, REPEATS).run())

        assert states(world) == expected


def test_after_a_reset_many_ids_are_listed_in_short_queries() -> None:
    tasks = [a_task() for _ in range(250)]
    world = World(*tasks)
    world.news.append(lambda: reset(1))
    world.run(ChangesOfMany({"id": (task.id for task in tasks)}, REPEATS).run(), count=250)

    assert len(states(world)) == 250
    assert max(len(query.get_list("id")) for query in world.lists) == 100


def test_a_stream_that_ends_by_itself_is_opened_again_after_a_pause() -> None:
    task = a_task()
    world = World(task)
    for _ in range(5):
        world.news.extend([lambda: told(1, task), lambda: StreamNews(1, is_over=True)])
    world.news.append(stop)
    with pytest.raises(StoppedError):
        world.run(ChangesOfMany({}, REPEATS).run())

    assert len(world.listened) == 6
    assert world.now >= 1_005


class StoppedError(Exception):
    pass


def stop() -> StreamNews:
    raise StoppedError
