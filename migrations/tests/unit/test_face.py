from __future__ import annotations

from pathlib import Path

import pytest

import task_migrations
import task_store
from task_migrations import upgrades


def test_face_is_sorted_and_whole() -> None:
    assert task_migrations.__all__ == sorted(task_migrations.__all__)
    assert all(hasattr(task_migrations, name) for name in task_migrations.__all__)


def test_newest_migration_makes_the_schema_that_the_store_needs() -> None:
    assert task_migrations.head() == task_store.SCHEMA_REVISION


def test_revisions_sort_as_text_in_their_order() -> None:
    folder = Path(task_migrations.__file__).parent / "alembic" / "versions"
    names = sorted(path.name for path in folder.glob("*.py"))

    assert [name.split("_")[0] for name in names] == [f"{number:04}" for number in range(1, len(names) + 1)]


def test_package_without_its_migrations_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upgrades.ScriptDirectory, "get_current_head", lambda _: None)

    with pytest.raises(LookupError, match="without its migrations"):
        task_migrations.head()
