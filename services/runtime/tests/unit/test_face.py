from __future__ import annotations

import task_runtime


def test_the_face_is_sorted_and_whole() -> None:
    names = task_runtime.__all__

    assert names == sorted(names, key=lambda name: (not name.isupper(), name[0].islower(), name))
    assert all(hasattr(task_runtime, name) for name in names)
