from __future__ import annotations

import importlib.resources

import task_worker


def test_all_is_sorted_and_complete() -> None:
    assert task_worker.__all__ == sorted(task_worker.__all__)
    assert all(hasattr(task_worker, name) for name in task_worker.__all__)
    assert importlib.resources.files(task_worker).joinpath("py.typed").is_file()
