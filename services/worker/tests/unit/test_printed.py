# ruff: noqa: T201 # print is what is tested

from __future__ import annotations

import asyncio
import io
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from task_worker import printed
from task_worker.printed import LINE_CHARS_MAX, AttemptPrints, log_prints


class Terminal(io.StringIO):
    """What reaches the standard streams."""

    def isatty(self) -> bool:
        return True


@contextmanager
def in_terminal() -> Iterator[Terminal]:
    """In the test itself: pytest puts its own streams there whenever a test begins."""
    terminal = Terminal()
    with redirect_stdout(terminal), redirect_stderr(terminal):
        yield terminal


@contextmanager
def logging_prints() -> Iterator[tuple[list[Any], Terminal]]:
    with in_terminal() as terminal, capture_logs() as lines, log_prints():
        yield lines, terminal


def texts(logged: list[Any]) -> list[str]:
    return [line["text"] for line in logged]


def test_each_line_that_an_attempt_prints_is_an_event() -> None:
    with logging_prints() as (logged, terminal), AttemptPrints():
        print("one", 2, end="")
        print(" three\n\nfour", file=sys.stderr)
        sys.stdout.writelines(["five\n", "  six"])

    assert texts(logged) == ["one 2 three", "four", "five", "  six"]
    assert {(line["event"], line["log_level"]) for line in logged} == {("handler_printed", "info")}
    assert terminal.getvalue() == ""


def test_what_belongs_to_no_attempt_is_logged_too() -> None:
    with logging_prints() as (logged, terminal):
        print("before", end="")
        with AttemptPrints():
            print("within")
            is_terminal = sys.stdout.isatty()
        print(" and after", end="")

    assert texts(logged) == ["within", "before and after"]
    assert terminal.getvalue() == ""
    assert not is_terminal, "no library should colour it"


def test_streams_and_hooks_are_as_they_were_after_the_block() -> None:
    with in_terminal() as terminal:
        hooks = threading.excepthook, sys.unraisablehook
        with log_prints():
            assert sys.stdout is not terminal
        streams = sys.stdout, sys.stderr

    assert streams == (terminal, terminal)
    assert (threading.excepthook, sys.unraisablehook) == hooks


async def test_attempts_at_the_same_time_do_not_mix_their_lines() -> None:
    with logging_prints() as (logged, _):

        async def attempt(name: str, mine: asyncio.Event, other: asyncio.Event) -> None:
            with AttemptPrints():
                for _ in range(3):
                    print(name, end="")
                    other.set()
                    await mine.wait()
                    mine.clear()
                other.set()

        one, two = asyncio.Event(), asyncio.Event()
        await asyncio.gather(attempt("a", one, two), attempt("b", two, one))

    assert sorted(texts(logged)) == ["aaa", "bbb"]


async def test_threads_that_get_the_context_print_as_their_attempt() -> None:
    with logging_prints() as (logged, _), AttemptPrints():
        await asyncio.to_thread(print, "in a thread")

    assert texts(logged) == ["in a thread"]


def test_a_progress_bar_is_one_line_and_endless_text_is_not_kept() -> None:
    with logging_prints() as (logged, _), AttemptPrints():
        for percent in range(101):
            print(f"\r{percent}%", end="")
        print()
        print("x" * (LINE_CHARS_MAX + 1), end="")
        before_end = len(logged)

    assert texts(logged)[0] == "100%"
    assert before_end == len(logged) == 2


def test_a_log_handler_that_prints_does_not_print_for_ever() -> None:
    with in_terminal() as terminal:
        structlog.configure(
            processors=[structlog.stdlib.render_to_log_kwargs], logger_factory=structlog.stdlib.LoggerFactory()
        )
        root = logging.getLogger()
        with log_prints():
            handler = logging.StreamHandler()  # to the stream that log_prints has put there
            handler.setLevel(logging.INFO)
            root.addHandler(handler)
            root.setLevel(logging.INFO)
            try:
                with AttemptPrints():
                    print("hello")
            finally:
                root.removeHandler(handler)
                root.setLevel(logging.WARNING)
                structlog.reset_defaults()

    assert terminal.getvalue() == "handler_printed\n"


def test_a_thread_that_fails_is_an_event_with_its_traceback() -> None:
    with logging_prints() as (logged, terminal):
        thread = threading.Thread(target=lambda: 1 / 0, name="mine")
        thread.start()
        thread.join()

    (line,) = logged
    assert (line["event"], line["thread"], line["log_level"]) == ("thread_failed", "mine", "error")
    assert isinstance(line["exc_info"], ZeroDivisionError)
    assert terminal.getvalue() == ""


def test_an_exception_that_python_ignores_is_an_event() -> None:
    with logging_prints() as (logged, terminal):

        class Broken:
            def __del__(self) -> None:
                raise ValueError("\x1b[2J")

        Broken().__init__()  # type: ignore[misc]

    (line,) = logged
    assert (line["event"], line["log_level"]) == ("exception_ignored", "warning")
    assert terminal.getvalue() == ""


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_can_print_whatever_another_thread_was_doing() -> None:
    is_held, may_go = threading.Event(), threading.Event()

    def hold() -> None:
        with printed._lock:
            is_held.set()
            may_go.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    is_held.wait()
    with logging_prints():
        pid = os.fork()
        if not pid:
            signal.alarm(10)  # a child that waits for the lock ends by it
            with AttemptPrints():
                print("in the child")
            os._exit(0)
    may_go.set()
    thread.join()

    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
