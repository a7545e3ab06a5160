from __future__ import annotations

import pytest

from task_store import REVISIONS, SCHEMA_REVISION, why_no_migration


@pytest.mark.parametrize("revision", [None, *REVISIONS, "9999", "9998c"])
def test_a_database_that_is_empty_known_or_newer_is_no_complaint(revision: str | None) -> None:
    assert why_no_migration(revision) is None


@pytest.mark.parametrize("revision", ["0000", "0000z"])
def test_a_schema_of_before_the_first_release_is_named_with_the_way_out(revision: str) -> None:
    assert why_no_migration(revision) == (
        f"the database holds the schema {revision} of a version before the first release; no migration leads from it:"
        " use an empty database (docker-compose down -v; task-service: another --data-dir)"
    )


@pytest.mark.parametrize("revision", ["", "ae1027a6acf", "99999", "9999B", "0001 "])
def test_a_schema_of_another_program_is_refused_too(revision: str) -> None:
    reason = why_no_migration(revision)

    assert reason is not None
    assert f"the schema {revision!r}, which is not of this service: use an empty database" in reason


def test_a_first_migration_that_is_changed_sorts_behind_its_former_selves_and_before_the_second() -> None:
    assert sorted(["0002", "0001d", "0001", "0001b"]) == ["0001", "0001b", "0001d", "0002"]
    assert max(REVISIONS) == SCHEMA_REVISION
