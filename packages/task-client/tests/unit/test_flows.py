"""What both clients decide, step by step, with neither a network nor a clock."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import httpx2
import pytest

from task_client import (
    ConnectionFailedError,
    NotFoundError,
    RepeatPolicy,
    RequestTimeoutError,
    TaskClientError,
    UnavailableError,
    WaitTimeoutError,
)
from task_client import _calls as calls
from task_client._creating import create
from task_client._flows import ask
from task_client._steps import Done, Flow, Send, Step, Wait, advance
from task_client._waiting import wait
from task_contracts import PROBLEM_MEDIA_TYPE, Problem, Task, TaskCreate, TaskStatus
from task_contracts.testing import a_task, an_id

REPEATS = RepeatPolicy()
REFUSED = httpx2.ConnectError("refused")
SLOW = httpx2.ReadTimeout("slow")
DROPPED = httpx2.ReadError("reset")


def shown(task: Task) -> httpx2.Response:
    return httpx2.Response(200, content=task.model_dump_json(), headers={"content-type": "application/json"})


def problem(status: int, **headers: str) -> httpx2.Response:
    body = Problem(title="t", status=status, detail="d", code="c").model_dump_json()
    return httpx2.Response(status, content=body, headers={"content-type": PROBLEM_MEDIA_TYPE, **headers})


class Clock:
    """A clock that only the waits move forward."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Run:
    """Carries out a flow's steps; its answers come in turn, the last one again and again."""

    def __init__(self, flow: Flow[Any], outcomes: Iterable[Any], clock: Clock | None = None) -> None:
        self.calls: list[calls.Call] = []
        self.timeouts: list[float] = []
        self.waits: list[float] = []
        self._flow, self._outcomes, self._clock = flow, list(outcomes), clock or Clock()

    def result(self) -> Any:
        step = advance(self._flow, None)
        while not isinstance(step, Done):
            step = advance(self._flow, self._outcome(step))
        return step.result

    def error(self) -> TaskClientError:
        with pytest.raises(TaskClientError) as raised:
            self.result()
        return raised.value

    def failed(self) -> Run:
        self.error()
        return self

    def _outcome(self, step: Step) -> Any:
        if isinstance(step, Wait):
            self.waits.append(step.seconds)
            self._clock.now += step.seconds
            return None
        assert isinstance(step, Send)
        self.calls.append(step.call)
        self.timeouts.append(step.timeout_seconds)
        return self._outcomes.pop(0) if len(self._outcomes) > 1 else self._outcomes[0]


def test_a_good_answer_is_asked_for_once() -> None:
    task = a_task()
    run = Run(ask(calls.get(task.id), Task, REPEATS), [shown(task)])

    assert run.result() == task
    assert (len(run.calls), run.waits) == (1, [])


@pytest.mark.parametrize("trouble", [REFUSED, DROPPED, problem(503)])
def test_reading_is_repeated_where_that_may_help(trouble: Any) -> None:
    task = a_task()
    run = Run(ask(calls.get(task.id), Task, REPEATS), [trouble, trouble, trouble, shown(task)])

    assert run.result() == task
    assert len(run.calls) == 4
    assert len(run.waits) == (2 if trouble is DROPPED else 3)


@pytest.mark.parametrize("call", [calls.get(an_id()), calls.create(b"{}", "k", is_key_known=False)])
def test_a_dropped_connection_costs_one_more_request_at_once(call: calls.Call) -> None:
    run = Run(ask(call, Task, RepeatPolicy(tries=1)), [DROPPED, shown(a_task())])
    run.result()

    assert (len(run.calls), run.waits) == (2, [])
    assert len(Run(ask(call, Task, RepeatPolicy(tries=1)), [DROPPED]).failed().calls) == 2


def test_reading_is_repeated_a_few_times_only() -> None:
    run = Run(ask(calls.get(an_id()), Task, REPEATS), [REFUSED])
    error = run.error()

    assert type(error) is ConnectionFailedError
    assert error.__cause__ is REFUSED
    assert len(run.calls) == REPEATS.tries == len(run.waits) + 1


def test_reading_is_not_repeated_where_one_try_is_all() -> None:
    run = Run(ask(calls.get(an_id()), Task, RepeatPolicy(tries=1)), [REFUSED])
    run.error()

    assert len(run.calls) == 1


def test_pauses_between_repeats_grow_and_vary() -> None:
    run = Run(ask(calls.get(an_id()), Task, REPEATS), [REFUSED])
    run.error()

    assert 0.1 <= run.waits[0] <= 0.2 <= run.waits[1] <= 0.4


def test_a_repeat_waits_as_long_as_the_service_asks() -> None:
    run = Run(ask(calls.get(an_id()), Task, REPEATS), [problem(503, **{"retry-after": "2"})])

    assert run.error().retry_after == 2
    assert run.waits[:2] == [2.0, 2.0]


def test_who_asks_for_a_long_pause_is_not_asked_again() -> None:
    seconds = f"{REPEATS.longest_retry_after_seconds + 1:.0f}"
    run = Run(ask(calls.get(an_id()), Task, REPEATS), [problem(503, **{"retry-after": seconds})])

    assert type(run.error()) is UnavailableError
    assert len(run.calls) == 1


@pytest.mark.parametrize("trouble", [problem(404), problem(422), problem(500), SLOW, httpx2.DecodingError("x")])
def test_reading_is_not_repeated_where_that_does_not_help_or_its_time_is_over(trouble: Any) -> None:
    run = Run(ask(calls.get(an_id()), Task, REPEATS), [trouble])
    run.error()

    assert len(run.calls) == 1


@pytest.mark.parametrize("trouble", [SLOW, DROPPED, problem(503), problem(500)])
def test_what_could_be_done_twice_is_asked_once(trouble: Any) -> None:
    run = Run(ask(calls.rerun(an_id()), Task, REPEATS), [trouble])

    assert not run.error().is_repeat_safe
    assert len(run.calls) == 1


def test_what_could_be_done_twice_is_repeated_where_nothing_was_sent() -> None:
    task = a_task()
    run = Run(ask(calls.rerun(task.id), Task, REPEATS), [REFUSED, shown(task)])

    assert run.result() == task


@pytest.mark.parametrize("trouble", [REFUSED, DROPPED, problem(503)])
def test_a_create_is_repeated_with_its_key(trouble: Any) -> None:
    task = a_task()
    made: list[bytes] = []
    flow = create(TaskCreate(name="a"), None, lambda content, _: made.append(content) or "the-key", REPEATS)  # type: ignore[func-returns-value]
    run = Run(flow, [trouble, trouble, shown(task)])

    assert run.result() == task
    assert made == [b'{"name":"a"}']
    assert [call.headers["Idempotency-Key"] for call in run.calls] == ["the-key"] * 3


def test_a_repeat_is_logged_before_its_callers_wonder(caplog: pytest.LogCaptureFixture) -> None:
    Run(ask(calls.get(an_id()), Task, REPEATS), [REFUSED]).error()

    assert ["trying again" in record.getMessage() for record in caplog.records] == [True]


def waiting(outcomes: Iterable[Any], timeout_seconds: float = 10) -> Run:
    clock = Clock()
    return Run(wait(an_id(), timeout_seconds, REPEATS, clock), outcomes, clock)


@pytest.mark.parametrize("status", [status for status in TaskStatus if status.is_terminal])
def test_wait_reads_the_state_and_returns_the_whole_task_at_its_end(status: TaskStatus) -> None:
    end = a_task(status=status, payload={"a": 1})
    run = waiting([shown(a_task()), shown(a_task(status=TaskStatus.IN_PROGRESS)), shown(end), shown(end)])

    assert run.result() == end
    assert [call.path.endswith("/status") for call in run.calls] == [True, True, True, False]


def test_wait_looks_ever_more_slowly_up_to_once_a_second() -> None:
    run = waiting([shown(a_task())])
    run.error()

    assert run.waits[0] == 0.05
    assert all(0.05 <= seconds <= 1.0 for seconds in run.waits[:-1])
    assert run.waits[:-1] == sorted(run.waits[:-1])
    assert run.waits[-2] == 1.0
    assert sum(run.waits) == pytest.approx(10)


def test_wait_looks_once_more_at_the_deadline_and_then_says_what_it_knows() -> None:
    last = a_task(status=TaskStatus.IN_PROGRESS)
    run = waiting([shown(a_task()), shown(last)])
    error = run.error()

    assert isinstance(error, WaitTimeoutError)
    assert error.last is not None
    assert error.last.id == last.id
    assert error.timeout_seconds == 10
    assert len(run.calls) == len(run.waits) + 1
    assert "it is IN_PROGRESS" in str(error)
    assert error.__cause__ is None


def test_wait_without_any_time_looks_once() -> None:
    end = a_task(status=TaskStatus.COMPLETED)

    assert waiting([shown(end)], timeout_seconds=0).result() == end
    assert isinstance(waiting([shown(a_task())], timeout_seconds=0).error(), WaitTimeoutError)


def test_wait_goes_on_through_trouble_that_passes() -> None:
    end = a_task(status=TaskStatus.COMPLETED)
    bad_gateway = httpx2.Response(502, content=b"<html>", headers={"content-type": "text/html"})
    run = waiting([REFUSED, SLOW, problem(503), bad_gateway, shown(end), REFUSED, shown(end)])

    assert run.result() == end


def test_wait_that_ends_in_trouble_names_it() -> None:
    error = waiting([shown(a_task()), REFUSED]).error()

    assert isinstance(error, WaitTimeoutError)
    assert type(error.__cause__) is ConnectionFailedError


def test_wait_does_not_sit_out_its_time_where_the_service_is_never_reached(caplog: pytest.LogCaptureFixture) -> None:
    run = waiting([REFUSED], timeout_seconds=3600)

    assert type(run.error()) is ConnectionFailedError
    assert len(run.calls) == REPEATS.tries
    assert len(caplog.records) == 1


def test_wait_says_once_that_the_service_is_away_and_once_that_it_is_back(caplog: pytest.LogCaptureFixture) -> None:
    end = a_task(status=TaskStatus.COMPLETED)
    waiting([shown(a_task()), *[REFUSED] * 20, shown(a_task()), shown(end), shown(end)], 600).result()

    assert len(caplog.records) == 2


def test_wait_asks_the_service_to_hold_its_answer_back_for_no_longer_than_is_left() -> None:
    run = waiting([shown(a_task())], timeout_seconds=2.5)
    run.error()

    held = [call.held_seconds for call in run.calls]
    assert held[0] == 2
    assert held[-1] == 0
    assert waiting([shown(a_task(status=TaskStatus.FAILED))] * 2, 3600).result()


def test_wait_asks_for_less_where_a_proxy_gives_up_what_is_held_back() -> None:
    end = a_task(status=TaskStatus.COMPLETED)
    gave_up = httpx2.Response(504, content=b"<html>", headers={"content-type": "text/html"})
    run = waiting([gave_up, gave_up, shown(end), shown(end)], 3600)
    run.result()

    assert [call.held_seconds for call in run.calls] == [30, 15, 7, 0]


def test_wait_pauses_as_long_as_the_service_asks_but_never_beyond_its_deadline() -> None:
    run = waiting([shown(a_task()), problem(503, **{"retry-after": "4"})])
    run.error()

    assert run.waits[1:] == pytest.approx([4.0, 4.0, 1.95])


def test_wait_ends_at_once_where_no_waiting_helps() -> None:
    run = waiting([problem(404)])

    assert type(run.error()) is NotFoundError
    assert len(run.calls) == 1


def test_wait_goes_on_where_somebody_asks_for_another_run_at_the_last_moment() -> None:
    ended, again = a_task(status=TaskStatus.FAILED), a_task(status=TaskStatus.PENDING)
    end = a_task(status=TaskStatus.COMPLETED)
    run = waiting([shown(ended), shown(again), shown(end), shown(end)])

    assert run.result() == end
    assert len(run.calls) == 4


def test_a_request_of_wait_is_given_no_more_time_than_is_left_but_a_second() -> None:
    run = waiting([shown(a_task())], timeout_seconds=3)
    run.error()

    assert run.timeouts[0] == 3
    assert run.timeouts[-1] == 1
    assert run.timeouts == sorted(run.timeouts, reverse=True)


def test_a_timeout_of_one_request_does_not_end_the_waiting() -> None:
    run = waiting([shown(a_task()), SLOW])
    error = run.error()

    assert isinstance(error, WaitTimeoutError)
    assert type(error.__cause__) is RequestTimeoutError
