"""The seconds that the sessions of a nox run took, as a table beside what each may take."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

BUDGET_SECONDS = {
    "lint": 5,
    "lock": 5,
    "imports": 5,
    "dependencies": 5,
    "types": 30,
    "unit": 80,
    "model": 30,
    "wheels": 20,
    "tools": 105,
    "examples": 10,
    "integration": 330,
    "system": 240,
    "coverage": 10,
}
"""What each session of the default run may take on two idle cores, all its members together. A session that is not
named here has no budget and is not part of the sum."""
ALL_SECONDS = 900
"""What they may take together. What is left beside the budgets is for tests that are yet to come."""
SHOWN_SECONDS = 1.0
"""What a member takes is shown from here on."""


def print_seconds(report: Path) -> None:
    """Print the table of the run that wrote this report (`nox --report`); nothing where none did."""
    if report.exists():
        print("\n".join(seconds_table(json.loads(report.read_text())["sessions"])))


def seconds_table(sessions: list[dict[str, Any]]) -> list[str]:
    """Return the lines of the table: one for each kind of session, in the order of the run, and their sum.

    A session is what nox writes of it: its kind is its `name`, its member, if any, stands in its `args`, and
    `duration` is in seconds.
    """
    seconds_by_kind: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for session in sessions:
        seconds_by_kind[session["name"]][" ".join(session["args"].values())] += session["duration"]
    counted = sum(sum(seconds_by_kind[kind].values()) for kind in BUDGET_SECONDS if kind in seconds_by_kind)
    return [
        f"{'session':<14} {'seconds':>8} {'at most':>8}",
        *(_line(kind, seconds) for kind, seconds in seconds_by_kind.items()),
        _row("with a limit", counted, ALL_SECONDS),
    ]


def _line(kind: str, seconds_by_member: dict[str, float]) -> str:
    slowest_first = sorted(seconds_by_member.items(), key=lambda item: -item[1])
    shown = [f"{member} {seconds:.0f}" for member, seconds in slowest_first if member and seconds >= SHOWN_SECONDS]
    row = _row(kind, sum(seconds_by_member.values()), BUDGET_SECONDS.get(kind))
    return f"{row}  {', '.join(shown)}".rstrip()


def _row(name: str, seconds: float, most: int | None) -> str:
    return f"{name:<14} {seconds:8.1f} {most or '':>8}" + (" over" if most and seconds > most else "")
