"""`docs/states.md` is the life cycle's table, rendered."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from task_contracts import TaskStatus
from task_contracts.lifecycle import COLUMN_RULES, Event
from task_contracts.states_page import render

PAGE = Path(__file__).parents[4] / "docs" / "states.md"


def test_the_page_in_the_repository_equals_the_table() -> None:
    assert PAGE.read_text(encoding="utf-8") == render(), f"run: python -m task_contracts.states_page {PAGE}"


def test_the_page_names_every_event_status_and_column() -> None:
    page = render()

    assert all(f"\n| {event} |" in page for event in Event)
    assert all(f"--> {status}:" in page for status in TaskStatus)
    assert all(f"\n| `{column}` |" in page for column in COLUMN_RULES)


def test_every_line_of_a_table_has_the_same_number_of_cells() -> None:
    events, columns = render().split("## Columns")

    assert {line.count("|") for line in events.splitlines() if line.startswith("|")} == {7}
    assert {line.count("|") for line in columns.splitlines() if line.startswith("|")} == {len(TaskStatus) + 2}


def test_the_command_writes_the_page(tmp_path: Path) -> None:
    written = tmp_path / "states.md"

    subprocess.run([sys.executable, "-m", "task_contracts.states_page", str(written)], check=True, timeout=60)

    assert written.read_bytes() == render().encode()
