"""Handlers' processes are kept from one attempt to the next, and nothing of an attempt is left in them."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import orjson
import psutil
import pytest
from structlog.contextvars import bound_contextvars, get_contextvars
from structlog.testing import capture_logs

from task_contracts import ErrorCode, Progress
from task_store import Claim
from task_worker.attempt.outcome import Failed, HandlerOutcome, NotBegun, Returned, Stopped
from task_worker.attempt.runners.child_messages import Begun, ChildRequest, ChildSetup
from task_worker.attempt.runners.process_pool import ChildListener, PoolLimits, ProcessPool
from task_worker.checkpoint_write import CheckpointOutcome
from task_worker.context import TaskDetails
from task_worker.lease.in_flight import Attempt, StopReason
from task_worker.timings import AttemptTimings

Until = Callable[..., Awaitable[Any]]
MakeAttempts = tuple[Callable[..., Claim], Callable[..., TaskDetails]]
NOBODY = ChildListener(lambda *_: None, lambda _: Future())

HANDLERS = """
import asyncio, logging, os, signal, subprocess, sys, threading, time
from pathlib import Path
from task_worker import Context, handler

BUSY = threading.Event()
LATE = []
UNTOUCHED = os.environ.get("UNTOUCHED")


def state():
    os.umask(mask := os.umask(0))
    return {
        "folder": os.getcwd(),
        "umask": mask,
        "sigterm": str(signal.getsignal(signal.SIGTERM)),
        "blocked": sorted(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, ()))),
        "alarm": signal.getitimer(signal.ITIMER_REAL)[0],
        "environment": sorted(name for name in os.environ if name.startswith("WARM_")),
        "stdout": type(sys.stdout).__name__,
    }


@handler("pid", in_process=True)
def pid():
    return os.getpid()


@handler("state", in_process=True)
def tell_state():
    return state()


@handler("changes", in_process=True)
def changes(payload: dict):
    os.chdir("/")
    os.umask(0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    signal.alarm(1)
    os.environ["WARM_NEW"] = "1"
    del os.environ["WARM_OLD"]
    sys.stdout = None
    return os.getpid()


@handler("irreparable", in_process=True)
def irreparable():
    os.fchdir = None
    return os.getpid()


@handler("waits", in_process=True)
def waits(payload: dict):
    with open(payload["began"], "a") as file:
        file.write(f"{os.getpid()}\\n")
    while not os.path.exists(payload["go"]):
        time.sleep(0.01)
    return os.getpid()


@handler("child", in_process=True)
def leaves_a_child():
    return [os.getpid(), subprocess.Popen(["sleep", "60"]).pid]


@handler("orphan", in_process=True)
def leaves_an_orphan():
    return [os.getpid(), int(subprocess.run(["sh", "-c", "sleep 60 >&- & echo $!"], stdout=subprocess.PIPE).stdout)]


@handler("zombie", in_process=True)
def leaves_a_zombie():
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    return os.getpid()


@handler("thread", in_process=True)
def leaves_a_thread(payload: dict, context: Context):
    def go_on():
        while not BUSY.is_set():
            context.progress(99, "of another")
            time.sleep(0.001)

    context.progress(1)
    threading.Thread(target=go_on, daemon=payload["daemon"]).start()
    return os.getpid()


@handler("keeps", in_process=True)
def keeps(payload: dict, context: Context):
    for page in range(payload["pages"]):
        context.checkpoint({"page": page})
    return os.getpid()


@handler("keeps.async", in_process=True)
async def keeps_on_a_loop(context: Context):
    await asyncio.gather(*(context.checkpoint(page) for page in range(3)))
    return os.getpid()


@handler("keeps.late", in_process=True)
def keeps_in_a_thread_that_stays(context: Context):
    ends = []

    def go_on():
        try:
            context.checkpoint("under way")
        except BaseException as error:
            ends.append(type(error).__name__)
        try:
            context.checkpoint("late")
        except BaseException as error:
            ends.append(type(error).__name__)

    thread = threading.Thread(target=go_on, daemon=True)
    thread.start()
    LATE.append((thread, ends))
    while not Path(os.environ["TASK_TEST_SENT"]).exists():
        time.sleep(0.001)
    return os.getpid()


@handler("late.ends", in_process=True)
def ends_of_that_thread(context: Context):
    thread, ends = LATE.pop()
    thread.join()
    context.checkpoint("mine")
    return [os.getpid(), *ends]


@handler("closes", in_process=True)
def closes():
    sys.stdout.close()
    return os.getpid()


@handler("logs", in_process=True)
async def logs():
    logging.getLogger("of.a.handler").warning("it_happened")
    print("printed")


@handler("dies", in_process=True)
def dies():
    os._exit(7)


@handler("file", in_process=True)
def imports_what_a_file_beside_is_called():
    import wave
    return [wave.__file__, __file__]
"""


class Pool:
    """A pool whose attempts need no worker."""

    def __init__(self, attempts: MakeAttempts, setup: ChildSetup, limits: PoolLimits, grace: float) -> None:
        self._make_claim, self._make_details = attempts
        timings = AttemptTimings(kill_grace_seconds=grace, process_start_seconds=60)
        self.pool = ProcessPool(setup, limits, timings)
        self.reported: list[Progress] = []
        self.kept: list[str | None] = []
        self.may_store = True
        self.stored: list[Future[CheckpointOutcome]] = []
        """Of the checkpoints that came while they may not be stored."""
        self.listener = ChildListener(lambda _, progress: self.reported.append(progress), self._store_checkpoint)

    def _store_checkpoint(self, text: str | None) -> Future[CheckpointOutcome]:
        self.kept.append(text)
        future: Future[CheckpointOutcome] = Future()
        if self.may_store:
            future.set_result(CheckpointOutcome.STORED)
        else:
            self.stored.append(future)
        return future

    def attempt(self, type_: str, payload: dict[str, Any] | None = None, timeout_seconds: float = 60) -> Attempt:
        return Attempt(self._make_claim(type=type_, payload=payload or {}), timeout_seconds, 3)

    def start(self, attempt: Attempt) -> asyncio.Task[HandlerOutcome]:
        claim = attempt.claim
        details = self._make_details(id=claim.id, type=claim.type, lease_token=claim.lease_token)
        request = ChildRequest(details, claim.payload_text, get_contextvars())
        return asyncio.create_task(self.pool.run(attempt, request, self.listener))

    async def run(self, type_: str, payload: dict[str, Any] | None = None) -> Any:
        """Return the value of a handler, or its outcome if it is another."""
        outcome = await self.start(self.attempt(type_, payload))
        return orjson.loads(outcome.result) if isinstance(outcome, Returned) and outcome.result else outcome


Make = Callable[..., Pool]


def write(path: Path, text: str) -> None:
    path.write_text(text)


@pytest.fixture
def handlers_file(tmp_path: Path) -> Path:
    path = tmp_path / "warm_handlers.py"
    path.write_text(HANDLERS)
    return path


@pytest.fixture
def attempts(a_claim: Callable[..., Claim], some_details: Callable[..., TaskDetails]) -> MakeAttempts:
    return a_claim, some_details


@pytest.fixture
async def make(handlers_file: Path, attempts: MakeAttempts) -> AsyncIterator[Make]:
    made: list[Pool] = []

    def pool(processes: int = 1, tasks: int = 100, grace: float = 5.0) -> Pool:
        made.append(Pool(attempts, ChildSetup(str(handlers_file), "INFO", "json"), PoolLimits(processes, tasks), grace))
        return made[-1]

    yield pool
    for one in made:
        await one.pool.aclose()


@pytest.fixture
async def gate(tmp_path: Path, until: Until) -> Any:
    """The payload of `waits`, how to wait until so many have begun, and how to let them end."""

    class Gate:
        def __init__(self) -> None:
            self.payload = {"began": str(tmp_path / "began"), "go": str(tmp_path / "go")}

        async def wait_begun(self, count: int = 1) -> list[int]:
            def begun() -> list[int]:
                path = tmp_path / "began"
                pids = [int(line) for line in path.read_text().splitlines()] if path.exists() else []
                return pids if len(pids) >= count else []

            return list(await until(begun))

        def open(self) -> None:
            (tmp_path / "go").touch()

    return Gate()


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


async def test_one_process_runs_attempt_after_attempt_and_is_replaced_after_so_many(make: Make) -> None:
    pool = make(tasks=3)

    pids = [await pool.run("pid") for _ in range(7)]

    assert len(set(pids)) == 3
    assert (pids[0:3], pids[3:6]) == ([pids[0]] * 3, [pids[3]] * 3)
    assert is_gone(pids[0])


async def test_two_processes_are_kept_ready_while_there_may_be_more_and_none_outlives_the_pool(
    make: Make, until: Until, gate: Any
) -> None:
    before = set(psutil.Process().children())
    pool = make(processes=3, tasks=1)

    def started() -> set[int]:
        return {child.pid for child in set(psutil.Process().children()) - before if not is_gone(child.pid)}

    pool.pool.keep_ready()
    await until(lambda: len(pool.pool._idle) == 2)
    first = started()
    running = [pool.start(pool.attempt("waits", gate.payload))]
    await gate.wait_begun()
    await until(lambda: len(pool.pool._idle) == 2)
    second = started()
    running += [pool.start(pool.attempt("waits", gate.payload)) for _ in range(3)]
    busy = await gate.wait_begun(3)
    pool.pool.drain()
    gate.open()
    outcomes = await asyncio.gather(*running)
    left = started()
    await pool.pool.aclose()

    assert len(first) == 2
    assert len(second) == 3
    assert first < second == set(busy)
    *returned, last = outcomes  # those that began together may have begun in either order
    assert sorted(map(repr, returned)) == sorted(repr(Returned(str(pid))) for pid in busy)
    assert last == Stopped()
    assert left == set()


async def test_a_used_up_process_is_replaced_ahead_of_the_next_attempt(make: Make, until: Until) -> None:
    pool = make(tasks=1)
    pool.pool.keep_ready()
    await until(lambda: pool.pool._idle)

    first = await pool.run("pid")
    await until(lambda: pool.pool._idle)

    assert await pool.run("pid") != first


async def test_a_process_that_cannot_load_its_handlers_is_not_started_again_and_again(
    make: Make, handlers_file: Path, until: Until
) -> None:
    write(handlers_file, "import nothing_of_this_name")
    before = set(psutil.Process().children())
    pool = make(processes=1)
    with capture_logs() as logs:
        pool.pool.keep_ready()
        await until(lambda: logs)
        outcome = await pool.run("pid")

    (line,) = logs
    assert (line["event"], line["log_level"]) == ("handler_process_not_ready", "warning")
    assert line["reason"] == outcome.error.message
    assert [child for child in set(psutil.Process().children()) - before if not is_gone(child.pid)] == []


async def test_without_being_kept_ready_no_process_is_started_before_it_is_needed(make: Make) -> None:
    before = set(psutil.Process().children())
    pool = make(processes=4)

    assert set(psutil.Process().children()) == before
    pids = await asyncio.gather(pool.run("pid"), pool.run("pid"))
    started = set(psutil.Process().children()) - before
    await pool.pool.aclose()

    assert set(pids) <= {child.pid for child in started}
    assert len(started) <= 2
    assert all(is_gone(child.pid) for child in started)


async def test_attempts_wait_for_a_process_and_their_time_does_not_run_meanwhile(make: Make, gate: Any) -> None:
    pool = make(processes=1)
    first = pool.start(pool.attempt("waits", gate.payload))
    (pid,) = await gate.wait_begun()
    waiting = [pool.attempt("pid", timeout_seconds=0.2) for _ in range(2)]
    others = [pool.start(attempt) for attempt in waiting]
    await asyncio.sleep(0.5)  # longer than they may run

    assert not any(other.done() for other in others)
    gate.open()
    assert await asyncio.gather(first, *others) == [Returned(str(pid))] * 3
    assert [attempt.stop_reason for attempt in waiting] == [None, None]


@pytest.mark.parametrize("reason", StopReason)
async def test_an_attempt_that_waits_for_a_process_can_be_stopped_and_keeps_nobody_waiting(
    make: Make, gate: Any, reason: StopReason
) -> None:
    pool = make(processes=1)
    first = pool.start(pool.attempt("waits", gate.payload))
    (pid,) = await gate.wait_begun()
    stopped, next_ = pool.attempt("pid"), pool.attempt("pid")
    running, later = pool.start(stopped), pool.start(next_)
    await asyncio.sleep(0)

    stopped.stop(reason)

    assert await running == Stopped()
    gate.open()
    assert await asyncio.gather(first, later) == [Returned(str(pid))] * 2


async def test_in_a_drain_nobody_waits_for_a_process_and_what_has_one_goes_on(make: Make, gate: Any) -> None:
    pool = make(processes=1)
    first = pool.start(pool.attempt("waits", gate.payload))
    (pid,) = await gate.wait_begun()
    waiting = pool.start(pool.attempt("pid"))
    await asyncio.sleep(0)

    pool.pool.drain()

    assert await waiting == Stopped()
    assert await pool.run("pid") == Stopped()
    gate.open()
    assert await first == Returned(str(pid))


@pytest.mark.parametrize("reason", [StopReason.TIMEOUT, StopReason.CANCEL, StopReason.LEASE_LOST])
async def test_a_process_whose_attempt_was_stopped_is_replaced(make: Make, gate: Any, reason: StopReason) -> None:
    pool = make()
    first = await pool.run("pid")
    attempt = pool.attempt("waits", gate.payload, timeout_seconds=0.3 if reason is StopReason.TIMEOUT else 60)
    running = pool.start(attempt)
    assert await gate.wait_begun() == [first]
    if reason is not StopReason.TIMEOUT:
        attempt.stop(reason)

    assert await running == Stopped()
    assert attempt.stop_reason is reason
    assert is_gone(first)
    assert await pool.run("pid") != first


async def test_what_a_handler_changes_is_restored_for_the_next(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WARM_OLD", "1")
    pool = make()
    before = await pool.run("state")

    pid = await pool.run("changes")

    assert await pool.run("pid") == pid
    assert await pool.run("state") == before
    assert before["environment"] == ["WARM_OLD"]


@pytest.mark.parametrize("type_", ["child", "orphan"])
async def test_a_process_with_a_process_left_in_it_is_replaced_and_both_are_gone(
    make: Make, until: Until, type_: str
) -> None:
    pool = make()

    pid, left = await pool.run(type_)

    assert is_gone(pid)
    await until(lambda: is_gone(left))
    assert await pool.run("pid") != pid


@pytest.mark.parametrize(("type_", "payload"), [("thread", {"daemon": False}), ("closes", {})])
async def test_a_process_with_a_thread_at_work_or_without_its_streams_is_replaced(
    make: Make, type_: str, payload: dict[str, Any]
) -> None:
    pool = make()

    pid = await pool.run(type_, payload)

    assert is_gone(pid)
    assert isinstance(await pool.run("pid"), int)


async def test_a_result_counts_though_the_state_of_its_process_cannot_be_restored(make: Make) -> None:
    pool = make()

    left = await pool.run("irreparable")

    assert isinstance(left, int)
    assert await pool.run("pid") != left


async def test_a_process_that_ends_before_it_has_loaded_its_handlers_is_no_failure_of_the_attempt(
    handlers_file: Path, make: Make
) -> None:
    write(handlers_file, "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    pool = make()

    reason = "no process: it ended by signal SIGKILL before it had loaded its handlers"
    assert await pool.run("pid") == NotBegun(reason)


@pytest.mark.parametrize(
    "line",
    [
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 29, 1 << 29)); bytearray(1 << 30)",
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3)); open('/dev/null')",
        "raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))",
        'raise RuntimeError("can\'t start new thread")',
        "raise ImportError('libx.so: failed to map segment from shared object')",
        "raise ImportError(f'libx.so: cannot open shared object file: {os.strerror(errno.EMFILE)}')",
        "try: raise MemoryError\nexcept MemoryError: raise LookupError('of another')",
    ],
)
async def test_running_out_of_memory_files_or_pids_while_handlers_are_loaded_is_no_failure_of_the_attempt(
    handlers_file: Path, make: Make, line: str
) -> None:
    write(handlers_file, f"import errno, os\n{line}\n")
    pool = make()

    outcome = await pool.run("pid")

    assert isinstance(outcome, NotBegun)
    assert outcome.reason.startswith("no process: ")


@pytest.mark.parametrize("begun", [False, True])
async def test_a_worker_without_memory_fails_only_what_has_begun(
    make: Make, monkeypatch: pytest.MonkeyPatch, *, begun: bool
) -> None:
    pool = make()
    await pool.run("pid")
    (child,) = pool.pool._idle
    read = child.read

    def send(_: object) -> None:
        raise MemoryError

    async def read_one() -> Any:
        if isinstance(message := await read(), Begun):
            return message
        raise MemoryError

    monkeypatch.setattr(child, *(("read", read_one) if begun else ("send", send)))

    if begun:
        with pytest.raises(MemoryError):
            await pool.run("pid")
    else:
        assert await pool.run("pid") == NotBegun("no process: out of memory")
    assert isinstance(await pool.run("pid"), int)


async def test_a_process_that_cannot_be_started_whatever_the_reason_is_no_failure_of_the_attempt(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = make()

    async def no_watcher(*_: Any, **__: Any) -> None:
        raise RuntimeError("can't start new thread")  # asyncio's own watcher of children, before Python 3.12

    monkeypatch.setattr(asyncio, "create_subprocess_exec", no_watcher)

    assert await pool.run("pid") == NotBegun("no process: can't start new thread")


async def test_an_async_handler_whose_event_loop_cannot_be_made_has_not_begun(handlers_file: Path, make: Make) -> None:
    text = """
import resource
from task_worker import handler

@handler("few", in_process=True)
def leaves_few_files():
    resource.setrlimit(resource.RLIMIT_NOFILE, (4, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))

@handler("async", in_process=True)
async def runs():
    return "ran"
"""
    write(handlers_file, text)
    pool = make()

    assert (await pool.run("few")).result is None
    outcome = await pool.run("async")

    assert outcome == NotBegun("no process: [Errno 24] Too many open files")
    assert await pool.run("async") == "ran"  # in another process


async def test_a_type_that_a_changed_file_no_longer_has_fails_with_the_types_that_it_has(
    handlers_file: Path, make: Make
) -> None:
    write(handlers_file, "from task_worker import handler\n\n@handler('new')\ndef run(): ...\n")
    pool = make()

    outcome = await pool.run("old")

    assert isinstance(outcome, Failed)
    assert outcome.error.message == (
        "a process of the queue default has no handler of the type old; its handlers, as they are now: echo, new"
    )


async def test_a_daemon_thread_may_stay_and_reports_no_progress_of_others(make: Make) -> None:
    pool = make()

    pid = await pool.run("thread", {"daemon": True})
    reported = len(pool.reported)
    pids = [await pool.run("pid") for _ in range(20)]

    assert set(pids) == {pid}
    assert pool.reported[0].percent == 1
    assert len(pool.reported) == reported
    assert await pool.run("zombie") == await pool.run("pid") == pid  # what has ended by itself is not left behind


async def test_a_checkpoint_of_a_process_is_stored_before_it_goes_on(make: Make, until: Until) -> None:
    pool = make()
    pool.may_store = False

    running = asyncio.create_task(pool.run("keeps", {"pages": 2}))
    await until(lambda: len(pool.stored) == 1)
    pool.stored[0].set_result(CheckpointOutcome.STORED)
    await until(lambda: len(pool.stored) == 2)
    kept, has_ended = list(pool.kept), running.done()
    pool.stored[1].set_result(CheckpointOutcome.STORED)

    assert isinstance(await running, int)
    assert (kept, has_ended) == (['{"page":0}', '{"page":1}'], False)


async def test_an_async_handler_in_a_process_awaits_its_checkpoints(make: Make) -> None:
    pool = make()

    assert isinstance(await pool.run("keeps.async"), int)
    assert pool.kept == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("outcome", "name"),
    [
        (CheckpointOutcome.REFUSED, "UnstorableCheckpointError"),
        (CheckpointOutcome.STOPPED, "TaskCancelled"),
    ],
)
async def test_a_checkpoint_of_a_process_that_was_not_stored_raises(
    make: Make, until: Until, outcome: CheckpointOutcome, name: str
) -> None:
    pool = make()
    pool.may_store = False

    running = asyncio.create_task(pool.run("keeps", {"pages": 1}))
    await until(lambda: pool.stored)
    pool.stored[0].set_result(outcome)

    assert (await running).error.type == name


async def test_a_thread_that_stays_keeps_nothing_for_the_next_attempt_and_does_not_wait_for_ever(
    make: Make, until: Until, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASK_TEST_SENT", str(tmp_path / "sent"))
    pool = make()
    pool.may_store = False

    running = asyncio.create_task(pool.run("keeps.late"))
    await until(lambda: pool.stored)
    (tmp_path / "sent").touch()
    pid = await running
    pool.may_store = True
    pool.stored[0].set_result(CheckpointOutcome.STORED)  # its answer comes late, and is taken for no other's

    assert await pool.run("late.ends") == [pid, "TaskCancelled", "TaskCancelled"]
    assert pool.kept == ['"under way"', '"mine"']


@pytest.mark.parametrize("is_seen", [True, False])
async def test_a_process_that_died_while_it_was_idle_is_nobodys_failure(
    make: Make, until: Until, is_seen: bool
) -> None:
    pool = make()
    pid = await pool.run("pid")
    (child,) = pool.pool._idle

    os.kill(pid, signal.SIGKILL)
    if is_seen:
        await until(lambda: not child.is_alive)

    second = await pool.run("pid")
    assert isinstance(second, int)
    assert second != pid


async def test_a_process_that_dies_is_replaced(make: Make) -> None:
    pool = make()

    outcome = await pool.run("dies")

    assert isinstance(outcome, Failed)
    assert (outcome.error.code, outcome.error.message) == (
        ErrorCode.PROCESS_DIED,
        "the handler's process ended by exit code 7",
    )
    assert isinstance(await pool.run("pid"), int)


async def test_handlers_that_cannot_be_loaded_fail_the_attempt_until_they_are_mended(
    make: Make, handlers_file: Path
) -> None:
    write(handlers_file, "import nothing_of_this_name")
    pool = make()

    first, second = await pool.run("pid"), await pool.run("pid")
    write(handlers_file, HANDLERS)

    assert "No module named 'nothing_of_this_name'" in first.error.message
    assert first.error == second.error
    assert isinstance(await pool.run("pid"), int)


async def test_handlers_that_never_load_fail_the_attempt(
    handlers_file: Path, a_claim: Callable[..., Claim], some_details: Callable[..., TaskDetails]
) -> None:
    write(handlers_file, "import time\ntime.sleep(600)")
    timings = AttemptTimings(process_start_seconds=0.1)
    attempt = Attempt(a_claim(type="pid"), 60, 3)
    pool = ProcessPool(ChildSetup(str(handlers_file), "INFO", "json"), PoolLimits(1, 1), timings)

    outcome = await pool.run(attempt, ChildRequest(some_details(type="pid"), "{}", {}), NOBODY)

    assert isinstance(outcome, Failed)
    assert outcome.error.code == ErrorCode.TIMEOUT
    assert outcome.error.message == "the handler's process did not load its handlers within 0.1 s"
    assert not [one for one in psutil.Process().children() if "task_worker.attempt.runners.child_main" in one.cmdline()]


async def test_a_process_that_cannot_be_started_leaves_its_place_to_the_next(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = make()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", "/no/such/python")
        assert isinstance(await pool.run("pid"), NotBegun)

    assert isinstance(await pool.run("pid"), int)


async def test_log_lines_and_prints_have_the_fields_of_their_attempt(
    make: Make, capfd: pytest.CaptureFixture[str]
) -> None:
    pool = make()
    with bound_contextvars(task_id="first", attempt=1):
        await pool.run("logs")
    with bound_contextvars(task_id="second"):
        await pool.run("logs")

    out, err = capfd.readouterr()
    lines = [orjson.loads(line) for line in err.splitlines()]

    assert out == ""
    for event, text in (("it_happened", None), ("handler_printed", "printed")):
        found = [line for line in lines if line["event"] == event]
        assert [line.get("text") for line in found] == [text, text]
        assert [(line["task_id"], line.get("attempt")) for line in found] == [("first", 1), ("second", None)]


async def test_a_folder_change_of_the_worker_changes_nothing_for_its_processes(
    make: Make, handlers_file: Path, monkeypatch: pytest.MonkeyPatch, attempts: MakeAttempts, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("code.py", "secrets.py", "wave.py"):
        write(tmp_path / name, "raise ImportError('not the module of that name')")
    pool = Pool(attempts, ChildSetup(handlers_file.name, "INFO", "json"), PoolLimits(1, 1), 5)
    monkeypatch.chdir("/")

    assert (await pool.run("state"))["folder"] == str(tmp_path)
    assert (await pool.run("file"))[1] == str(handlers_file)
