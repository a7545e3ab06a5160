from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import wait

import pytest

from task_worker.threads import DaemonThreads

SECONDS = 10
LEAVING = """
import threading
from task_worker.threads import DaemonThreads
threads, is_called = DaemonThreads("endless", 1), threading.Event()
threads.submit(lambda: (is_called.set(), threading.Event().wait()))
is_called.wait()
"""


def test_a_call_gives_its_value_or_its_error() -> None:
    threads = DaemonThreads("calls", 2)

    assert threads.submit(divmod, 7, 2).result(SECONDS) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        threads.submit(divmod, 7, 0).result(SECONDS)


def test_no_more_calls_run_at_once_than_there_are_threads_and_the_others_get_their_turn() -> None:
    threads, both_run, may_end = DaemonThreads("calls", 2), threading.Barrier(3), threading.Event()

    def call(number: int) -> int:
        if number < 2:
            both_run.wait(SECONDS)
            may_end.wait(SECONDS)
        return number

    futures = [threads.submit(call, number) for number in range(6)]
    both_run.wait(SECONDS)
    assert [future.running() for future in futures] == [True, True, False, False, False, False]
    assert futures[5].cancel()

    may_end.set()
    assert not wait(futures, SECONDS).not_done
    assert [future.result() for future in futures[:5]] == list(range(5))


def test_a_process_ends_though_a_call_does_not() -> None:
    done = subprocess.run([sys.executable, "-c", LEAVING], timeout=60, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")


def test_a_thread_that_cannot_be_started_leaves_no_call_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    threads, called = DaemonThreads("calls", 2), []

    def no_more(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_more)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            threads.submit(called.append, "refused")
    threads.submit(called.append, "later").result(SECONDS)

    assert called == ["later"]


def test_a_thread_is_used_again_and_ends_at_the_shutdown() -> None:
    threads = DaemonThreads("calls", 2)
    first = threads.submit(threading.current_thread).result(SECONDS)

    def again() -> bool:
        return threads.submit(threading.current_thread).result(SECONDS) is first

    assert any(again() for _ in range(100))
    threads.shutdown()
    first.join(SECONDS)
    assert not first.is_alive()
    with pytest.raises(RuntimeError, match="shut down"):
        threads.submit(print)
