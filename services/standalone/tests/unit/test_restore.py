from __future__ import annotations

from pathlib import Path

import pytest

from task_contracts import TaskStatus
from task_service import restore as module
from task_service.contents import Contents
from task_service.restore import restore
from task_store import SCHEMA_REVISION, DatabaseFacts
from task_store.embedded import UnusableDumpError

FACTS = DatabaseFacts("18.6", 180006, 100, "on", "on")


@pytest.mark.parametrize("content", [None, b"", b"CREATE TABLE tasks ();\n" * 99, b"\x00\xff" * 999])
async def test_a_file_that_is_no_dump_is_refused_in_one_line_and_makes_no_folder(
    tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "dump"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(UnusableDumpError, match=f"{file} cannot be restored") as refused:
        await restore(tmp_path / "data", file, replaces=False)

    assert "\n" not in str(refused.value)
    assert not (tmp_path / "data").exists()


def test_it_is_said_what_was_restored_what_runs_again_and_where_the_old_files_are() -> None:
    contents = Contents({TaskStatus.COMPLETED: 1200, TaskStatus.IN_PROGRESS: 3}, SCHEMA_REVISION, FACTS)

    lines = module._lines(Path("/data"), contents, Path("/data/postgres.replaced-x"))

    assert lines == [
        f"restored /data: 1,203 tasks (3 IN_PROGRESS, 1,200 COMPLETED), schema {SCHEMA_REVISION}, PostgreSQL 18.6",
        "3 of them were running: the sweep brings them back, a lease after the start",
        "what was there before is kept in /data/postgres.replaced-x",
    ]


def test_a_schema_that_is_newer_than_the_code_is_a_warning() -> None:
    lines = module._lines(Path("/data"), Contents({}, "9999", FACTS), None)

    assert lines[0] == "restored /data: 0 tasks, schema 9999, PostgreSQL 18.6"
    (warning,) = lines[1:]
    assert warning.startswith("warning: the schema (9999) is newer")
