"""The table of seconds that ends a nox run, and the budget in CONTRIBUTING."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from members import ROOT
from seconds import ALL_SECONDS, BUDGET_SECONDS, print_seconds, seconds_table


def session(name: str, duration: float, **args: str) -> dict[str, Any]:
    """Return a session as nox writes it into its report."""
    return {"name": name, "args": args, "duration": duration, "result": "success"}


def test_members_of_a_session_are_summed_and_the_slow_ones_named() -> None:
    lines = seconds_table(
        [session("lint", 0.25), session("unit", 2, member="a"), session("unit", 90, member="b"), session("unit", 0.5)]
    )

    assert [line.split() for line in lines[1:-1]] == [
        ["lint", "0.2", "5"],
        ["unit", "92.5", "80", "over", "b", "90,", "a", "2"],
    ]


def test_a_session_without_a_budget_is_not_part_of_the_sum() -> None:
    lines = seconds_table([session("lint", 1), session("compose", 300)])

    assert lines[2].split() == ["compose", "300.0"]
    assert lines[-1].split()[-2:] == ["1.0", str(ALL_SECONDS)]


def test_a_failed_session_counts_as_any_other() -> None:
    assert "7.0" in seconds_table([session("system", 7) | {"result": "failed"}])[-1]


def test_a_run_without_a_report_prints_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_seconds(tmp_path / "none.json")
    assert capsys.readouterr().out == ""

    (tmp_path / "some.json").write_text(json.dumps({"sessions": [session("lint", 1)]}))
    print_seconds(tmp_path / "some.json")
    assert "lint" in capsys.readouterr().out


def test_the_budget_leaves_room_for_tests_to_come() -> None:
    assert sum(BUDGET_SECONDS.values()) < ALL_SECONDS


def test_contributing_states_the_budget() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \|", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)

    assert {name: int(seconds) for name, seconds in rows} == BUDGET_SECONDS
