from __future__ import annotations

import contextvars
import io
import json
import logging
import logging.config
import os
import re
import socket
import warnings
from typing import Any
from uuid import UUID

import pytest
import structlog
from structlog.contextvars import bound_contextvars

from task_runtime import configure_logging, current_log_fields, get_logger, log_with, start_block

pytestmark = pytest.mark.usefixtures("untouched_logging")

TASK_ID = UUID(int=7)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def fail(message: str) -> None:
    raise ValueError(message)


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    captured = capsys.readouterr()
    assert captured.out == ""
    return [json.loads(line) for line in captured.err.splitlines()]


def test_fields_of_a_context_are_asked_for_when_a_line_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("INFO", "json")
    asked: list[str] = []

    def fields() -> dict[str, object]:
        asked.append("once more")
        return {"attempt": 2, "count": 7}

    def work() -> dict[str, Any]:
        log_with(fields)
        get_logger("here").debug("not_written")
        assert asked == []
        get_logger("here").info("written", count=1)
        with bound_contextvars(request_id="r"):
            return current_log_fields()

    assert contextvars.copy_context().run(work) == {"request_id": "r", "attempt": 2, "count": 7}
    get_logger("here").info("elsewhere")

    written, elsewhere = lines(capsys)
    assert (written["attempt"], written["count"]) == (2, 1)  # what a line says itself wins
    assert "attempt" not in elsewhere


def test_both_kinds_of_logger_write_the_same_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("INFO", "json")

    with bound_contextvars(worker_id="w1"):
        logging.getLogger("here").info("task_claimed", extra={"task_id": TASK_ID, "count": 2})
        structlog.stdlib.get_logger("here").info("task_claimed", task_id=TASK_ID, count=2)

    first, second = lines(capsys)
    assert first.pop("timestamp") <= second.pop("timestamp")
    assert first == second
    assert first == {
        "event": "task_claimed",
        "level": "info",
        "logger": "here",
        "worker_id": "w1",
        "task_id": str(TASK_ID),
        "count": 2,
    }


@pytest.mark.parametrize("log_format", ["json", "console"])
@pytest.mark.parametrize("level", ["debug", "info", "warning", "error", "critical", "exception"])
def test_loggers_of_services_write_the_line_that_those_of_packages_write(
    capsys: pytest.CaptureFixture[str], log_format: Any, level: str
) -> None:
    configure_logging("DEBUG", log_format, 2)

    with bound_contextvars(worker_id="w1"):
        for log, fields in (
            (get_logger("task_api.here"), {"task_id": TASK_ID, "token": "hush"}),
            (logging.getLogger("task_api.here"), {"extra": {"task_id": TASK_ID, "token": "hush"}}),
        ):
            try:
                fail("amqp://u:hush@h")
            except ValueError:
                getattr(log, level)("%s %d", "words", 7, **fields)

    shown = [
        re.sub(r"[-\dT]*\d\d:\d\d:\d\d(\.\d+Z)?|line \d+", "", line) for line in capsys.readouterr().err.splitlines()
    ]
    shown = [json.loads(line) for line in shown] if log_format == "json" else shown
    assert "words 7" in str(shown[0])
    assert shown[: len(shown) // 2] == shown[len(shown) // 2 :]
    assert ("ValueError" in str(shown)) is (level == "exception")


def test_loggers_of_services_leave_out_lines_below_the_level(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("WARNING", "json")

    get_logger("task_api.here").info("quiet")
    get_logger("task_api.here").warning("loud")
    get_logger("task_api.here").log(logging.INFO, "quiet")

    assert [line["event"] for line in lines(capsys)] == ["loud"]


def test_a_line_that_nobody_reads_hurts_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(io.StringIO):
        def write(self, _text: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr("sys.stderr", Broken())
    configure_logging("INFO", "json")

    get_logger("task_api.here").info("words")
    logging.getLogger("task_api.here").info("words")


def test_an_event_that_cannot_be_shown_is_named_and_its_caller_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("INFO", "json")

    get_logger("task_api.here").info("words %d", "no number")

    (line,) = lines(capsys)
    assert (line["event"], line["place"], line["reason"]) == ("line_not_logged", "task_api.here", "TypeError")


def test_the_number_of_the_process_stands_on_every_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("INFO", "json", 2)

    logging.getLogger("a.library").info("words")
    logging.getLogger("task_worker.any").info("task_claimed")
    get_logger("task_worker.any").info("task_claimed")

    assert [line["process"] for line in lines(capsys)] == [2, 2, 2]


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_secrets_rows_and_payloads_do_not_come_out(log_format: Any, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("INFO", log_format)

    message = "amqp://u:hush@h failed\nDETAIL:  Failing row contains (hush)"
    try:
        fail(message)
    except ValueError:
        logging.getLogger("here").exception("failed with %s", "amqp://u:hush@h", extra={"password": "hush"})
        structlog.stdlib.get_logger("here").exception("failed", url="amqp://u:hush@h", token="hush")

    shown = capsys.readouterr().err
    assert "hush" not in shown
    assert shown.count("Traceback (most recent call last)") == 2
    assert "ValueError: amqp://u:***@h failed" in shown


STEERING = "\x1b[2J\x07\r\x7f\x9b31m\u202e\u2066\u2028"


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_nothing_that_is_logged_steers_a_terminal(log_format: Any, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("INFO", log_format)
    fields = {"code": STEERING, STEERING: "key", "nested": {STEERING: [STEERING]}}

    try:
        fail(STEERING)
    except ValueError as error:
        error.add_note(STEERING)
        logging.getLogger("here").exception(f"event{STEERING}", extra=fields)
    structlog.stdlib.get_logger(f"here{STEERING}").info("event", **fields)

    shown = capsys.readouterr().err
    assert shown.count("event") >= 2
    assert not set(STEERING) - set("[2J31m") & set(shown)


def test_an_event_of_several_lines_is_one_line_on_the_console(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("INFO", "console")

    logging.getLogger("here").info("one\n2026-11-01T12:00:00Z [error    ] forged")

    assert capsys.readouterr().err.count("\n") == 1


def test_escaped_characters_mean_the_same_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("INFO", "json")

    logging.getLogger("here").info("測試", extra={"code": STEERING})

    shown = capsys.readouterr().err
    assert "測試" in shown
    assert json.loads(shown)["code"] == STEERING


def test_lines_below_the_level_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("WARNING", "json")

    logging.getLogger("here").info("quiet")
    structlog.stdlib.get_logger("here").info("quiet")
    structlog.stdlib.get_logger("here").warning("loud")

    assert [line["event"] for line in lines(capsys)] == ["loud"]


def test_libraries_that_log_what_is_sent_are_silent_even_at_debug(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("DEBUG", "json")

    logging.getLogger("httpcore2.http11").debug("receive_response_headers.complete [(b'Set-Cookie', b'hush')]")
    logging.getLogger("httpx2").info("HTTP Request: GET https://api.example.org/?token=hush")

    assert lines(capsys) == []


def test_warnings_of_python_are_log_lines(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("INFO", "json")

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=False)  # catch_warnings has put back what was there before
        logging.captureWarnings(capture=True)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
        logging.captureWarnings(capture=False)

    (line,) = lines(capsys)
    assert line["logger"] == "py.warnings"
    assert "old" in line["event"]


def test_configuring_again_counts_for_loggers_in_use(capsys: pytest.CaptureFixture[str]) -> None:
    log = structlog.stdlib.get_logger("here")
    configure_logging("INFO", "json")
    log.info("first")
    configure_logging("ERROR", "json")

    log.info("second")

    assert [line["event"] for line in lines(capsys)] == ["first"]


CONFIGURES = {
    "root": lambda: logging.config.dictConfig({"version": 1, "root": {"level": "ERROR"}}),
    "ours by name": lambda: logging.config.dictConfig(
        {"version": 1, "loggers": {"task_runtime": {"level": "CRITICAL", "handlers": [], "propagate": False}}}
    ),
    "force": lambda: logging.basicConfig(force=True, level=logging.CRITICAL, format="theirs %(message)s"),
    "disable": lambda: logging.disable(logging.CRITICAL),
    "handlers": lambda: [root.setFormatter(None) for root in logging.getLogger().handlers],
    "class": lambda: logging.setLoggerClass(type("Theirs", (logging.Logger,), {})),
    "structlog": lambda: structlog.configure(
        processors=[structlog.processors.KeyValueRenderer()], logger_factory=structlog.PrintLoggerFactory()
    ),
}


@pytest.mark.parametrize("configure", list(CONFIGURES.values()), ids=list(CONFIGURES))
def test_our_lines_and_their_redaction_survive_what_a_user_configures(
    capsys: pytest.CaptureFixture[str], configure: Any
) -> None:
    configure_logging("INFO", "json")
    early, ours = logging.getLogger("task_runtime.early"), get_logger("task_runtime.ours")
    try:
        configure()
        early.info("first", extra={"password": "hush"})
        logging.getLogger(f"task_runtime.late_{id(configure)}").info("second amqp://u:hush@h")
        ours.info("third", token="hush")
    finally:
        logging.disable(logging.NOTSET)
        logging.setLoggerClass(logging.Logger)
        for logger in logging.Logger.manager.loggerDict.values():
            if isinstance(logger, logging.Logger):
                logger.disabled, logger.propagate = False, True
        logging.getLogger("task_runtime").setLevel(logging.NOTSET)

    written = lines(capsys)
    assert [line["event"].split()[0] for line in written] == ["first", "second", "third"]
    assert "hush" not in str(written)
    assert {line["level"] for line in written} == {"info"}


def test_what_a_user_configures_counts_for_other_loggers(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("INFO", "json")

    logging.basicConfig(force=True, format="theirs %(message)s")
    logging.getLogger("theirs").warning("hello")

    assert capsys.readouterr().err == "theirs hello\n"


def test_a_line_on_the_console_is_short(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("INFO", "console")
    get_logger("task_worker.attempt").info("attempt_ended", type="echo", task_id="1", worker_id="2")

    assert re.fullmatch(r"\d\d:\d\d:\d\d \[info\] attempt_ended task_id=1 type=echo\n", capsys.readouterr().err)


def test_no_color_is_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("NO_COLOR", "1")
    configure_logging("INFO", "console")

    logging.getLogger("here").info("hello")

    assert "hello" in terminal.getvalue()
    assert "\x1b" not in terminal.getvalue()


def test_a_terminal_gets_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    configure_logging("INFO", "console")

    logging.getLogger("here").info("hello")

    assert "\x1b[" in terminal.getvalue()


def test_the_start_block_is_a_table_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    start_block(
        "task-worker 0.1.0",
        [("database", "postgresql+asyncpg://u:hush@db/tasks"), ("schema revision", "0001")],
        ["the API is open to everyone"],
        log_format="console",
    )

    assert capsys.readouterr().err == (
        "task-worker 0.1.0\n"
        "  database         postgresql+asyncpg://u:***@db/tasks\n"
        "  schema revision  0001\n"
        "  warning: the API is open to everyone\n"
    )


def test_nothing_in_the_start_block_steers_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    start_block(f"task{STEERING}", [("a", STEERING)], [STEERING], log_format="console")

    shown = capsys.readouterr().err
    assert shown.count("\n") == 3
    assert not set(STEERING) - set("[2J31m") & set(shown)


def test_the_start_block_is_log_lines_for_machines(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("INFO", "json")

    start_block(
        "task-worker 0.1.0",
        [("database", "postgresql+asyncpg://u:hush@db/tasks"), ("schema revision", "0001")],
        ["the API is open to everyone"],
        log_format="json",
    )

    block, warning = lines(capsys)
    assert block["event"] == "process_started"
    assert block["title"] == "task-worker 0.1.0"
    assert (block["host"], block["pid"]) == (socket.gethostname(), os.getpid())
    assert block["database"] == "postgresql+asyncpg://u:***@db/tasks"
    assert block["schema_revision"] == "0001"
    assert (warning["event"], warning["level"]) == ("startup_warning", "warning")
    assert warning["reason"] == "the API is open to everyone"


class Hostile:
    def __str__(self) -> str:
        raise ValueError(STEERING)

    __repr__ = __str__


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_record_that_cannot_be_shown_is_one_line_that_says_where(
    log_format: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging("INFO", log_format)
    log = logging.getLogger("theirs")

    log.info("%d rows", STEERING)
    log.info("too many %s", 1, 2)

    shown = capsys.readouterr().err.splitlines()
    assert len(shown) == 2
    assert all("line_not_logged" in line and "test_logs.py:" in line and "TypeError" in line for line in shown)


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_value_that_cannot_be_shown_does_not_hide_the_others(
    log_format: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging("INFO", log_format)

    logging.getLogger("theirs").info("event", extra={"value": Hostile(), "nested": [{"value": Hostile()}], "n": 1})
    logging.getLogger("theirs").info("%s", Hostile())

    first, second = capsys.readouterr().err.splitlines()
    assert "event" in first
    assert first.count("<Hostile that cannot be shown>") == 2
    assert "line_not_logged" in second


def test_a_line_says_what_a_hostile_exception_lets_be_shown(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("INFO", "json")
    error = ValueError("before")
    error.__notes__ = [Hostile()]

    logging.getLogger("theirs").error("failed", exc_info=error)

    (line,) = lines(capsys)
    assert line["exception"].startswith("ValueError: before")
