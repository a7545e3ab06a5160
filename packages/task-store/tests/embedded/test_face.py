from __future__ import annotations

import task_store.embedded
import task_store.testing


def test_faces_are_sorted_and_whole() -> None:
    for face in (task_store.embedded, task_store.testing):
        assert face.__all__ == sorted(face.__all__)
        assert all(hasattr(face, name) for name in face.__all__)
