from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from own_worker import orders
from own_worker.handlers import forecast_demand, import_orders, split_orders
from task_worker.testing import run

ROWS = [{"number": f"A{n}", "customer": "42", "quantity": "2", "price": "9.90"} for n in range(1, 5)]
FILE = "\n".join(["number,customer,quantity,price", *(",".join(row.values()) for row in ROWS)])

QUESTION = {"daily": [0, 1, 2, 5], "days": 10, "runs": 1_000, "seed": 1}


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that orders are stored in."""
    path = tmp_path / "orders.db"
    monkeypatch.setenv("OWN_WORKER_DATABASE", str(path))
    return path


def numbers_in(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as database:
        return [number for (number,) in database.execute("SELECT number FROM orders ORDER BY number")]


class TestSplitting:
    def test_each_part_becomes_a_task_with_the_labels_of_its_file(self) -> None:
        outcome = run(split_orders, {"csv": FILE, "rows_per_part": 3}, labels={"shop": "north"})

        assert len(outcome.result) == 2
        assert [task.name for task in outcome.created] == ["orders 1 to 3", "orders 4 to 4"]
        assert [task.payload["rows"] for task in outcome.created] == [ROWS[:3], ROWS[3:]]
        assert {(task.type, task.labels["shop"]) for task in outcome.created} == {("orders.import", "north")}
        assert [(progress.percent, progress.message) for progress in outcome.progress] == [
            (75, "orders 1 to 3"),
            (100, "orders 4 to 4"),
        ]

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("number,price\nA1,9.90", "the file has no column customer, quantity"),
            (FILE + "x" * 200_000, "the file is no CSV: field larger than field limit (131072)"),
        ],
    )
    def test_an_unusable_file_fails_for_good(self, text: str, reason: str) -> None:
        outcome = run(split_orders, {"csv": text})

        assert str(outcome) == f"FAIL: unusable_file: {reason}"

    def test_a_payload_of_another_shape_fails_before_the_handler_runs(self) -> None:
        outcome = run(split_orders, {"file": FILE})

        assert str(outcome) == "FAIL: invalid_payload: the payload does not fit: csv: Field required"

    def test_a_cancel_half_way_hands_nothing_more_on(self) -> None:
        outcome = run(split_orders, {"csv": FILE, "rows_per_part": 1}, cancel_at_percent=50)

        assert outcome.status == "CANCELLED"
        assert [task.name for task in outcome.created] == ["orders 1 to 1", "orders 2 to 2"]


class TestImporting:
    def test_good_rows_are_stored_and_bad_ones_explained(self, database: Path) -> None:
        bad = {**ROWS[1], "quantity": "none"}

        outcome = run(import_orders, {"rows": [ROWS[0], bad, ROWS[2]]})

        assert outcome.result["stored"] == 2
        assert len(outcome.result["rejected"]) == 1
        assert outcome.result["rejected"][0].startswith("row 2: quantity: Input should be a valid integer")
        assert numbers_in(database) == ["A1", "A3"]

    def test_a_repeat_changes_nothing(self, database: Path) -> None:
        for attempt in (1, 2):
            assert run(import_orders, {"rows": ROWS}, attempt=attempt).result["stored"] == 4

        assert numbers_in(database) == ["A1", "A2", "A3", "A4"]

    def test_a_busy_database_is_tried_again_until_the_last_attempt(
        self, database: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(orders, "BUSY_SECONDS", 0.01)
        somebody = sqlite3.connect(database, isolation_level=None)
        somebody.execute("BEGIN EXCLUSIVE")

        first, last = run(import_orders, {"rows": ROWS}), run(import_orders, {"rows": ROWS}, attempt=5)

        somebody.close()
        assert str(first) == "RETRY after 5 s: database_busy: database is locked"
        assert (last.status, last.after_seconds) == ("FAILED", None)

    def test_a_cancel_stores_nothing(self, database: Path) -> None:
        outcome = run(import_orders, {"rows": ROWS}, cancel_at_percent=50)

        assert outcome.status == "CANCELLED"
        assert [progress.percent for progress in outcome.progress] == [25, 50]
        assert numbers_in(database) == []


class TestForecasting:
    def test_more_is_enough_than_is_asked_for_on_average(self) -> None:
        outcome = run(forecast_demand, QUESTION)

        assert 18 < outcome.result["mean"] < 22 < outcome.result["enough"] < 50
        assert [progress.percent for progress in outcome.progress] == [10, 20, 30, 40, 50, 60, 70, 80, 90, 100]

    def test_in_a_process_of_its_own_the_same_comes_out(self) -> None:
        here = run(forecast_demand, QUESTION)
        there = run(forecast_demand, QUESTION, in_process_from="own_worker.handlers")

        assert (there.result, there.progress) == (here.result, here.progress)

    def test_its_process_is_killed_when_it_is_cancelled(self) -> None:
        question = {**QUESTION, "runs": 1_000_000}

        outcome = run(forecast_demand, question, cancel_at_percent=10, in_process_from="own_worker.handlers")

        assert outcome.status == "CANCELLED"
