from __future__ import annotations

import ast
from pathlib import Path

import task_store


def test_face_is_sorted_and_names_all_that_is_imported_for_it() -> None:
    tree = ast.parse(Path(task_store.__file__).read_text())
    imported = {alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names}

    assert task_store.__all__ == sorted(
        task_store.__all__, key=lambda name: (not name.isupper(), name[0].islower(), name)
    )
    assert set(task_store.__all__) == imported
    assert all(hasattr(task_store, name) for name in task_store.__all__)


def test_package_carries_its_types() -> None:
    assert (Path(task_store.__file__).parent / "py.typed").is_file()
