from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import threading
import time
import types
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydantic import BaseModel, model_serializer

from task_client import AsyncTaskClient, TaskClient
from task_contracts import Priority, TaskCreate, TaskStatus, TaskSummary
from task_contracts.lifecycle import Event
from task_contracts.testing import a_task
from task_worker import Context, Fail, HandlerError, Retry, Snooze, handler, testing
from task_worker.testing import RunOutcome, StillRunningError, arun, run
from task_worker.testing.recording_api import API_URL, RecordingApi

PLACES = pytest.mark.parametrize("place", ["loop", "thread", "process"])


class Report(BaseModel):
    month: str
    copies: int = 1


def placed(place: str, function: Callable[..., Any], **limits: Any) -> Callable[..., Any]:
    """Make a plain function a handler that runs on the loop, in a thread or in a process."""

    async def on_loop(payload: dict[str, Any], context: Context) -> Any:
        return function(payload, context)

    def elsewhere(payload: dict[str, Any], context: Context) -> Any:
        return function(payload, context)

    return handler("t", in_process=place == "process", **limits)(on_loop if place == "loop" else elsewhere)


def raising(error: BaseException) -> Callable[..., Any]:
    @handler("t", max_attempts=3)
    async def run() -> None:
        raise error

    return run


def test_the_face_is_sorted_and_complete() -> None:
    assert testing.__all__ == sorted(testing.__all__)
    assert all(hasattr(testing, name) for name in testing.__all__)


class TestOutcomes:
    @PLACES
    def test_a_value_and_all_progress_are_returned(self, place: str) -> None:
        def work(payload: dict[str, Any], context: Context) -> Any:
            for percent in range(0, 101, 10):
                context.progress(percent, f"page {percent}")
            return payload["n"], payload["n"] + 1

        outcome = run(placed(place, work), {"n": 1})

        assert (outcome.event, outcome.status, outcome.result) == (Event.COMPLETE, TaskStatus.COMPLETED, [1, 2])
        assert (outcome.error, outcome.after_seconds, outcome.created, str(outcome)) == (None, None, (), "COMPLETE")
        assert [progress.percent for progress in outcome.progress] == list(range(0, 101, 10))
        assert outcome.progress[-1].message == "page 100"

    def test_a_typed_payload_is_validated_and_a_model_becomes_json(self) -> None:
        @handler("t")
        def build(payload: Report) -> Report:
            return payload

        assert run(build, {"month": "m", "copies": 2}).result == {"month": "m", "copies": 2}

    def test_a_payload_that_does_not_fit_fails_the_task_without_a_call(self) -> None:
        called = []

        @handler("t")
        async def build(payload: Report) -> None:
            called.append(payload)

        outcome = run(build, {"copies": "many"})

        assert (outcome.event, outcome.status, called) == (Event.FAIL, TaskStatus.FAILED, [])
        assert outcome.error is not None
        assert (outcome.error.code, outcome.error.message) == (
            "invalid_payload",
            "the payload does not fit: month: Field required",
        )

    @PLACES
    @pytest.mark.parametrize("value", [{"at": object()}, float("nan"), "\ud800", "x" * 2_000_000])
    def test_a_result_that_cannot_be_stored_fails_the_task(self, place: str, value: Any) -> None:
        outcome = run(placed(place, lambda *_: value))

        assert outcome.event is Event.FAIL
        assert outcome.error is not None
        assert outcome.error.code == "unstorable_result"

    @PLACES
    def test_a_result_of_python_types_is_what_pydantic_writes(self, place: str) -> None:
        outcome = run(placed(place, lambda *_: {"on": date(2026, 1, 2), 1: {Decimal("1.10")}}))

        assert outcome.result == {"on": "2026-01-02", "1": ["1.10"]}

    @PLACES
    def test_a_value_whose_code_leaves_while_it_is_written_fails_its_task_alone(self, place: str) -> None:
        class Leaving(BaseModel):
            @model_serializer
            def leave(self) -> str:
                sys.exit(2)

        outcome = run(placed(place, lambda *_: {"a": [Leaving()]}))

        assert outcome.error is not None
        assert outcome.error.code == "unstorable_result"
        assert outcome.error.message.startswith("the result cannot be stored: a.0: is not JSON")

    def test_fail_retry_and_snooze_are_recorded_with_their_times(self) -> None:
        failed = run(raising(Fail("none such", code="no_customer")))
        retried = run(raising(Retry("busy", after_seconds=30)))
        snoozed = run(raising(Snooze(after_seconds=60)))

        assert str(failed) == "FAIL: no_customer: none such"
        assert (str(retried), retried.status) == ("RETRY after 30 s: retry: busy", TaskStatus.PENDING)
        assert (str(snoozed), snoozed.error, snoozed.status) == ("SNOOZE after 60 s", None, TaskStatus.PENDING)

    def test_any_other_exception_is_retried_after_the_usual_pause_until_the_last_attempt(self) -> None:
        first, last = run(raising(LookupError("nowhere"))), run(raising(LookupError("nowhere")), attempt=3)

        assert (first.event, last.event, last.after_seconds) == (Event.RETRY, Event.FAIL, None)
        assert first.after_seconds is not None
        assert 0 <= first.after_seconds <= 2
        assert first.error is not None
        assert (first.error.code, first.error.message, first.error.type) == ("handler_error", "nowhere", "LookupError")
        assert first.traceback is not None
        assert "raise error" in first.traceback

    @pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, asyncio.CancelledError])
    @PLACES
    def test_nothing_that_a_handler_raises_gets_out(self, place: str, error: type[BaseException]) -> None:
        def work(*_: Any) -> None:
            raise error

        assert run(placed(place, work)).event is Event.RETRY

    def test_attempts_are_the_tasks_own_else_the_handlers_else_three(self) -> None:
        @handler("t")
        async def open_ended() -> None:
            raise ValueError

        assert [run(open_ended, attempt=attempt).event for attempt in (1, 2, 3)] == ["RETRY", "RETRY", "FAIL"]
        assert run(raising(ValueError()), max_attempts=1).event is Event.FAIL

    def test_the_result_of_an_attempt_that_did_not_complete_is_an_error_that_says_why(self) -> None:
        with pytest.raises(AssertionError, match=r"(?s)it ended by RETRY .*nowhere.*Traceback.*raise error"):
            _ = run(raising(LookupError("nowhere"))).result

    def test_none_is_a_result(self) -> None:
        assert run(placed("loop", lambda *_: None)).result is None


class TestWhatAHandlerGets:
    def test_the_task_is_the_one_that_the_test_describes(self) -> None:
        @handler("t")
        def describe(context: Context) -> list[Any]:
            return [context.name, context.type, context.queue, context.labels, context.attempt]

        outcome = run(describe, name="n", queue="q", labels={"customer": "42"}, attempt=2, max_attempts=9)

        assert outcome.result == ["n", "t", "q", {"customer": "42"}, 2]

    def test_the_payload_is_a_copy(self) -> None:
        given: dict[str, Any] = {"pair": [1, 2]}

        @handler("t")
        def change(payload: dict[str, Any]) -> Any:
            payload["pair"].append(3)
            return payload

        assert run(change, given).result == {"pair": [1, 2, 3]}
        assert given == {"pair": [1, 2]}

    async def test_follow_up_tasks_are_listed_in_order(self) -> None:
        @handler("loop")
        async def on_loop(context: Context) -> str:
            await context.client.create(TaskCreate(name="first", type="mail.send", priority=Priority.LOW))
            task = await context.client.create(TaskCreate(name="second", payload={"n": 1}))
            return task.name

        @handler("thread")
        def in_thread(context: Context) -> str:
            return context.sync_client.create(TaskCreate(name="third")).name

        first, second = await arun(on_loop), await arun(in_thread)

        assert (first.result, second.result) == ("second", "third")
        assert [(task.name, task.type, task.payload) for task in first.created] == [
            ("first", "mail.send", {}),
            ("second", None, {"n": 1}),
        ]
        assert [task.name for task in second.created] == ["third"]

    def test_what_is_created_under_one_key_is_created_once_and_equal_tasks_without_one_each_time(self) -> None:
        @handler("t")
        def create(context: Context) -> list[str]:
            tasks = [context.sync_client.create(TaskCreate(name="keyed"), key="k") for _ in range(2)]
            tasks += [context.sync_client.create(TaskCreate(name="equal")) for _ in range(2)]
            return [str(task.id) for task in tasks]

        outcome = run(create)

        assert [task.name for task in outcome.created] == ["keyed", "equal", "equal"]
        assert outcome.result[0] == outcome.result[1]
        assert len(set(outcome.result)) == 3

    def test_a_batch_is_created_once_under_its_key(self) -> None:
        api = RecordingApi()

        with httpx2.Client(base_url=API_URL, transport=api.transport) as client:
            body, headers = {"tasks": [{"name": "a"}, {"name": "b"}]}, {"Idempotency-Key": "k"}
            first, again = (client.post("/api/v1/tasks/batch", json=body, headers=headers) for _ in range(2))
            refused = client.post("/api/v1/tasks", json={"name": "a"}, headers=headers)

        assert [TaskSummary.model_validate(one).name for one in first.json()["items"]] == ["a", "b"]
        assert (first.status_code, again.json(), refused.status_code) == (201, first.json(), 422)
        assert [task.name for task in api.created] == ["a", "b"]

    def test_both_clients_count_equal_tasks_together(self) -> None:
        @handler("t")
        async def create(context: Context) -> None:
            await context.client.create(TaskCreate(name="equal"))
            await asyncio.to_thread(context.sync_client.create, TaskCreate(name="equal"))

        assert len(run(create).created) == 2

    def test_a_key_for_another_task_is_refused(self) -> None:
        @handler("t")
        def create(context: Context) -> None:
            for name in ("one", "other"):
                context.sync_client.create(TaskCreate(name=name), key="k")

        outcome = run(create)

        assert outcome.error is not None
        assert "the key was sent before, with another task" in outcome.error.message
        assert [task.name for task in outcome.created] == ["one"]

    def test_any_other_call_asks_for_a_client(self) -> None:
        @handler("t", max_attempts=1)
        def look(context: Context) -> None:
            context.sync_client.ready()

        outcome = run(look)

        assert outcome.error is not None
        assert outcome.error.message == (
            "no service answers GET /health/ready in a test: pass a client, run(..., client=...)"
        )

    async def test_a_client_that_is_passed_is_used_and_left_open(self) -> None:
        def answer(request: httpx2.Request) -> httpx2.Response:
            return httpx2.Response(
                200,
                content=a_task(name=request.url.path).model_dump_json(),
                headers={"Content-Type": "application/json"},
            )

        @handler("t")
        async def look(context: Context) -> str:
            return (await context.client.get(context.id)).name

        @handler("t")
        def look_in_thread(context: Context) -> str:
            return context.sync_client.get(context.id).name

        with TaskClient("http://service.test", transport=httpx2.MockTransport(answer)) as plain:
            async with AsyncTaskClient("http://service.test", transport=httpx2.MockTransport(answer)) as client:
                for _ in range(2):
                    assert (await arun(look, client=client)).result.startswith("/api/v1/tasks/")
                    assert (await arun(look_in_thread, client=plain)).result.startswith("/api/v1/tasks/")


class TestCancelling:
    def test_an_async_handler_is_cancelled_at_the_await_after_its_report(self) -> None:
        steps = []

        @handler("t")
        async def work(context: Context) -> None:
            try:
                for percent in range(0, 101, 10):
                    context.progress(percent)
                    steps.append(percent)
                    await asyncio.sleep(0)
            finally:
                steps.append(-1)

        for _ in range(20):
            steps.clear()
            outcome = run(work, cancel_at_percent=50)

            assert (outcome.event, outcome.status, outcome.error) == (Event.CONFIRM_CANCEL, TaskStatus.CANCELLED, None)
            assert steps == [0, 10, 20, 30, 40, 50, -1]
            assert [progress.percent for progress in outcome.progress] == steps[:-1]

    def test_an_async_handler_is_cancelled_while_it_waits_for_the_api(self) -> None:
        @handler("t")
        async def work(context: Context) -> None:
            for percent in range(25, 101, 25):
                await context.client.create(TaskCreate(name=str(percent)))
                context.progress(percent)

        outcome = run(work, cancel_at_percent=50)

        assert outcome.event is Event.CONFIRM_CANCEL
        assert [task.name for task in outcome.created] == ["25", "50"]

    def test_a_plain_handler_sees_the_cancel_when_its_report_returns(self) -> None:
        steps = []

        @handler("t")
        def work(context: Context) -> None:
            for percent in range(0, 101, 10):
                context.progress(percent)
                steps.append(percent)
                context.raise_if_stopped()

        for _ in range(20):
            steps.clear()
            assert run(work, cancel_at_percent=50).event is Event.CONFIRM_CANCEL
            assert steps == [0, 10, 20, 30, 40, 50]

    def test_a_cancel_may_come_after_a_time(self) -> None:
        @handler("loop")
        async def on_loop() -> None:
            await asyncio.Event().wait()

        @handler("thread")
        def in_thread(context: Context) -> None:
            while not context.is_stopped:
                time.sleep(0.001)
            raise ValueError

        assert run(on_loop, cancel_after_seconds=0).event is Event.CONFIRM_CANCEL
        assert run(in_thread, cancel_after_seconds=0.02).event is Event.CONFIRM_CANCEL

    def test_a_success_after_the_cancel_counts_and_a_snooze_does_not(self) -> None:
        @handler("t")
        def work(payload: dict[str, Any], context: Context) -> str:
            context.progress(0)
            if payload["snooze"]:
                raise Snooze(after_seconds=60)
            return "done already"

        assert run(work, {"snooze": False}, cancel_at_percent=0).result == "done already"
        assert run(work, {"snooze": True}, cancel_at_percent=0).event is Event.CONFIRM_CANCEL

    def test_what_ends_before_the_cancel_is_not_cancelled(self) -> None:
        work = placed("loop", lambda *_: 1)

        assert run(work, cancel_at_percent=50).result == 1
        assert run(work, cancel_after_seconds=60).result == 1


class TestTimeouts:
    def test_the_handlers_own_timeout_is_honoured_and_another_wins(self) -> None:
        tidied = []

        @handler("t", timeout_seconds=0.02, max_attempts=2)
        async def work() -> None:
            try:
                await asyncio.sleep(0.1)
            finally:
                tidied.append(1)

        first, last = run(work), run(work, attempt=2)

        assert (first.event, last.event, tidied) == (Event.RETRY, Event.FAIL, [1, 1])
        assert last.error is not None
        assert (last.error.code, last.error.message) == ("timeout", "the handler ran longer than 0.02 s")
        assert run(work, timeout_seconds=60).result is None

    def test_the_value_of_a_plain_handler_that_ends_after_its_timeout_is_dropped(self) -> None:
        @handler("t", timeout_seconds=60)
        def work(context: Context) -> str:
            while not context.is_stopped:
                time.sleep(0.001)
            return "too late"

        assert run(work, timeout_seconds=0.01).event is Event.RETRY


class TestCodeThatDoesNotStop:
    def test_a_plain_handler_that_does_not_look_is_an_error(self) -> None:
        let_go, ended = threading.Event(), threading.Event()

        @handler("t")
        def work(context: Context) -> None:
            context.progress(0)
            let_go.wait(10)
            ended.set()

        with pytest.raises(
            StillRunningError, match=r"t still runs 0.05 s after .* \(cancel\): a plain function must look"
        ):
            run(work, cancel_at_percent=0, stop_seconds=0.05)

        let_go.set()
        assert ended.wait(10)

    async def test_so_is_an_async_one_that_swallows_its_cancellation(self) -> None:
        let_go, ended = asyncio.Event(), asyncio.Event()

        @handler("t", timeout_seconds=0.01)
        async def work() -> None:
            while not let_go.is_set():
                try:
                    await let_go.wait()
                except asyncio.CancelledError:
                    continue
            ended.set()

        with pytest.raises(StillRunningError, match=r"\(timeout\): .* must let its CancelledError pass"):
            await arun(work, stop_seconds=0.05)

        let_go.set()
        await asyncio.wait_for(ended.wait(), 10)

    def test_a_handler_for_a_process_sees_no_stop_as_in_its_process(self) -> None:
        let_go, ended, seen = threading.Event(), threading.Event(), []

        @handler("t", in_process=True, timeout_seconds=0.01)
        def work(context: Context) -> None:
            let_go.wait(10)
            seen.append(context.is_stopped)
            ended.set()

        with pytest.raises(StillRunningError, match="would kill its process; to test that, add in_process_from"):
            run(work, stop_seconds=0.05)

        let_go.set()
        assert ended.wait(10)
        assert seen == [False]

    @pytest.mark.parametrize("function", ["def work(context):", "async def work(context):"])
    def test_it_does_not_keep_the_test_run_from_ending(self, function: str) -> None:
        code = f"""
import asyncio, time
from task_worker import Context, handler, testing
@handler("t")
{function}
    context.progress(0)
    while True:
        try:
            {"await asyncio.sleep(1)" if "async" in function else "time.sleep(1)"}
        except {"asyncio.CancelledError" if "async" in function else "BaseException"}:
            pass
try:
    testing.run(work, cancel_at_percent=0, stop_seconds=0.05)
except testing.StillRunningError:
    print("raised")
"""
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

        assert done.stdout.endswith("raised\n")

    async def test_a_test_that_gives_up_on_it_stops_it(self) -> None:
        began, tidied = asyncio.Event(), []

        @handler("t")
        async def work() -> None:
            began.set()
            try:
                await asyncio.Event().wait()
            finally:
                tidied.append(1)

        running = asyncio.create_task(arun(work, stop_seconds=0.05))
        await began.wait()
        running.cancel()

        with pytest.raises(asyncio.CancelledError):
            await running
        assert tidied == [1]


HANDLERS = """
import os, time
from task_worker import Context, handler

@handler("pid", in_process=True)
def pid(payload: dict, context: Context) -> list:
    context.progress(50)
    return [os.getpid(), payload, context.attempt]

@handler("sleep", in_process=True)
def sleep(context: Context) -> None:
    context.progress(0)
    time.sleep(60)

@handler("quit", in_process=True)
def quit() -> None:
    os._exit(7)
"""


class TestProcesses:
    @pytest.fixture
    def place(self, tmp_path: Path) -> str:
        (tmp_path / "handlers.py").write_text(HANDLERS)
        return str(tmp_path / "handlers.py")

    @pytest.fixture
    def functions(self) -> dict[str, Any]:
        found: dict[str, Any] = {"__name__": "handlers"}
        exec(HANDLERS, found)
        return found

    def test_a_handler_for_a_process_runs_here_where_a_test_can_patch_what_it_uses(
        self, functions: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert run(functions["pid"], {}).result[0] == os.getpid()

        monkeypatch.setattr("os.getpid", lambda: 42)
        assert run(functions["pid"], {}).result[0] == 42

    def test_it_runs_in_a_process_where_that_is_asked_for(self, functions: dict[str, Any], place: str) -> None:
        outcome = run(functions["pid"], {"n": 1}, attempt=2, in_process_from=place)

        pid, payload, attempt = outcome.result
        assert pid != os.getpid()
        assert (payload, attempt, [progress.percent for progress in outcome.progress]) == ({"n": 1}, 2, [50])

    def test_there_it_is_killed_when_it_is_cancelled_or_out_of_time(
        self, functions: dict[str, Any], place: str
    ) -> None:
        cancelled = run(functions["sleep"], cancel_at_percent=0, in_process_from=place)
        late = run(functions["sleep"], timeout_seconds=0.5, in_process_from=place)

        assert (cancelled.event, late.event) == (Event.CONFIRM_CANCEL, Event.RETRY)
        assert late.error is not None
        assert late.error.code == "timeout"

    def test_one_that_dies_is_a_failure(self, functions: dict[str, Any], place: str) -> None:
        outcome = run(functions["quit"], in_process_from=place)

        assert outcome.error is not None
        assert (outcome.error.code, outcome.error.message) == (
            "process_died",
            "the handler's process ended by exit code 7",
        )

    def test_an_async_one_runs_on_a_loop(self) -> None:
        @handler("t", in_process=True)
        async def work() -> str:
            await asyncio.sleep(0)
            return "async"

        assert run(work).result == "async"


class TestMisuse:
    def test_a_function_that_is_no_handler_is_refused(self) -> None:
        with pytest.raises(HandlerError, match="raising is not decorated with @handler"):
            run(raising)

    @pytest.mark.parametrize(
        ("arguments", "why"),
        [
            ({"payload": {"at": object()}}, "is of type object, which is not JSON"),
            ({"labels": {"a:b": "c"}}, "labels"),
            ({"timeout_seconds": -1}, "timeout_seconds"),
            ({"attempt": 0}, "counts from 1"),
            ({"cancel_at_percent": 50}, "needs a process: add in_process_from=…"),
            ({"client": object(), "in_process_from": "handlers"}, "cannot be passed to a process"),
        ],
    )
    def test_arguments_that_no_caller_could_send_are_refused(self, arguments: dict[str, Any], why: str) -> None:
        with pytest.raises(ValueError, match=why):
            run(placed("process", lambda *_: None), **arguments)

    def test_only_a_handler_for_a_process_gets_a_process(self) -> None:
        with pytest.raises(ValueError, match="t is not marked in_process"):
            run(placed("thread", lambda *_: None), in_process_from="handlers")

    async def test_run_says_what_to_call_where_a_loop_runs(self) -> None:
        with pytest.raises(RuntimeError, match="await arun"):
            run(placed("loop", lambda *_: None))


class TestCheckpoints:
    @PLACES
    def test_a_handler_finds_what_is_given_and_the_outcome_lists_what_it_keeps(self, place: str) -> None:
        @handler("t")
        async def on_loop(context: Context) -> Any:
            await context.checkpoint({"page": Decimal("1.10")})
            await context.checkpoint(None)
            return context.checkpointed

        def elsewhere(context: Context) -> Any:
            context.checkpoint({"page": Decimal("1.10")})
            context.checkpoint(None)
            return context.checkpointed

        function = on_loop if place == "loop" else handler("t", in_process=place == "process")(elsewhere)
        outcome = run(function, checkpointed={"page": [3]})

        assert outcome.result == {"page": [3]}
        assert outcome.checkpoints == ({"page": "1.10"}, None)

    def test_without_any_there_is_none(self) -> None:
        outcome = run(placed("thread", lambda _, context: context.checkpointed))

        assert (outcome.result, outcome.checkpoints) == (None, ())

    def test_one_that_no_worker_could_store_is_no_beginning(self) -> None:
        with pytest.raises(ValueError, match="object, which is not JSON"):
            run(placed("thread", lambda *_: None), checkpointed=object())

    def test_one_that_cannot_be_stored_fails_the_attempt(self) -> None:
        outcome = run(placed("thread", lambda _, context: context.checkpoint({"a": object()})))

        assert outcome.event is Event.RETRY
        assert outcome.error is not None
        assert outcome.error.type == "UnstorableCheckpointError"
        assert outcome.error.message == "the checkpoint cannot be stored: a: is of type object, which is not JSON"

    def test_a_cancelled_handler_can_keep_how_far_it_has_come(self) -> None:
        def until_stopped(_: Any, context: Context) -> None:
            context.progress(50)
            context.checkpoint(context.is_stopped)
            context.raise_if_stopped()

        outcome = run(placed("thread", until_stopped), cancel_at_percent=50)

        assert (outcome.event, outcome.checkpoints) == (Event.CONFIRM_CANCEL, (True,))


def test_the_fixture_does_the_same(run_handler: Callable[..., RunOutcome]) -> None:
    assert run_handler(placed("loop", lambda *_: 1)).result == 1


def test_nothing_but_the_plugin_needs_pytest() -> None:
    code = "import sys, task_worker.testing; print('pytest' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout == "False\n"


def test_the_readme_is_right() -> None:
    readme = Path(__file__).parents[2].joinpath("README.md").read_text()
    code = "\n".join(re.findall(r"```python\n(.*?)```", readme, re.DOTALL))
    module = types.ModuleType("shop_tasks")
    exec(code, vars(module))
    tests = [value for name, value in vars(module).items() if name.startswith("test_")]

    for test in tests:
        test()
    assert len(tests) == 3
