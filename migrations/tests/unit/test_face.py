from __future__ import annotations

from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

import task_migrations
import task_store
from task_migrations import upgrades


def test_face_is_sorted_and_whole() -> None:
    assert task_migrations.__all__ == sorted(task_migrations.__all__)
    assert all(hasattr(task_migrations, name) for name in task_migrations.__all__)


def test_newest_migration_makes_the_schema_that_the_store_needs() -> None:
    assert task_migrations.head() == task_store.SCHEMA_REVISION


def test_store_knows_every_revision_in_its_order_and_their_files_sort_like_them() -> None:
    scripts = ScriptDirectory(str(Path(task_migrations.__file__).parent / "alembic"))
    revisions = [script.revision for script in scripts.walk_revisions()][::-1]
    numbers = sorted(path.name.split("_")[0] for path in (Path(scripts.dir) / "versions").glob("*.py"))

    assert tuple(revisions) == task_store.REVISIONS == tuple(sorted(revisions))
    assert numbers == [f"{number:04}" for number in range(1, len(revisions) + 1)]
    assert [revision[:4] for revision in revisions] == numbers


def test_package_without_its_migrations_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upgrades.ScriptDirectory, "get_current_head", lambda _: None)

    with pytest.raises(LookupError, match="without its migrations"):
        task_migrations.head()
