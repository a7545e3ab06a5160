"""What a process logs, in a terminal: readable at 60 columns, and what others wrote does not steer it."""

from __future__ import annotations

import os
import re
import sys
from itertools import takewhile

import pytest

from task_runtime.testing import PseudoTerminal

SCRIPT = r"""
import logging
from task_runtime import configure_logging, start_block

configure_logging("INFO", "console")
STEERING = "\x1b[2J\x1b]0;owned\x07\r\x9b31m\u202e"
FORGED = "\n10:00:00 [info] attempt_ended task_id=forged"
start_block(
    "task-worker 0.1.0",
    [
        ("database", "postgresql://task@/tasks?host=/a/long/folder/that/does/not/fit/into/sixty/columns"),
        ("handlers", ", ".join(f"report.build.{n}" for n in range(12))),
        ("queues", STEERING),
    ],
    ["the address of the API is not that of this machine, so everyone who reaches it may create tasks"],
    log_format="console",
)
log = logging.getLogger("reports")
ids = {"task_id": "01a22bee-a218-7609-bb3b-8ddc09587e17"}
log.info("reading %s", "monthly.csv " * 12 + STEERING + FORGED, extra=ids)
log.info("測試" * 40)
log.info("x" * 300 + STEERING * 20)
try:
    raise ValueError("cannot parse " + "row " * 30 + STEERING + FORGED)
except ValueError:
    log.exception("attempt_failed", extra={"error": STEERING * 5 + FORGED, "code": "handler_error"})
log.info("end", extra={"number": 1, "nothing": None, STEERING: [STEERING]})
"""


def shown(columns: int, **environment: str) -> PseudoTerminal:
    words = [sys.executable, "-c", SCRIPT]
    with PseudoTerminal(words, columns, {"PATH": os.environ["PATH"], "TERM": "xterm", **environment}) as terminal:
        assert terminal.end() == 0
    return terminal


def cells(line: str) -> int:
    return len(line) + len(re.findall(r"[測試]", line))


@pytest.mark.parametrize("columns", [60, 100])
def test_lines_fit_the_terminal_and_only_an_event_begins_at_its_left_edge(columns: int) -> None:
    lines = shown(columns).lines[:-1]

    block = list(takewhile(lambda line: not re.match(r"\d\d:", line), lines))
    log = lines[len(block) :]
    assert max(map(cells, [line for line in block if "postgresql://" not in line])) <= columns
    assert max(map(cells, log)) <= columns
    assert min(map(len, log[:-1])) > 2
    assert [line.split()[1] for line in log if not line.startswith("  ")] == ["[info]"] * 3 + ["[error]", "[info]"]
    assert [line for line in log if re.match(r"  Traceback", line)]
    assert "  ValueError: cannot parse row" in "\n".join(log)


@pytest.mark.parametrize("columns", [60, 100])
def test_colours_are_whole_and_nothing_else_steers_the_terminal(columns: int) -> None:
    terminal = shown(columns)

    left = re.sub(r"\x1b\[[0-9]{1,2}m", "", terminal.text).replace("\r\n", "")
    assert terminal.text != "\r\n".join(terminal.lines)
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u202e]", left)
    halves = re.findall(r"\\u[0-9a-f]{0,3}(?![0-9a-f])", left)
    assert halves == [], "an escape is broken by the end of a line"


def test_with_no_color_nothing_at_all_steers_the_terminal() -> None:
    terminal = shown(60, NO_COLOR="1")

    assert "\x1b" not in terminal.text
    assert "[error] attempt_failed" in terminal.text


def test_what_is_too_long_to_be_wrapped_in_the_block_can_be_copied() -> None:
    (line,) = [line for line in shown(60).lines if "postgresql://" in line]

    assert line.endswith("into/sixty/columns")
