from __future__ import annotations

import pytest

from task_store.batch_limit import BATCH_BYTES, BatchLimit


def test_without_an_answer_the_next_batch_is_half_as_large_down_to_one_item() -> None:
    limit, tried = BatchLimit(500), []

    for _ in range(6):
        tried.append(min(limit.items, 50))
        limit.unanswered(tried[-1])

    assert tried == [50, 25, 12, 6, 3, 1]
    assert limit.items == 1


def test_full_batches_that_are_answered_let_it_grow_again_and_small_ones_do_not() -> None:
    limit = BatchLimit(10)
    limit.unanswered(4)

    limit.answered(1)
    after_a_small_one = limit.items
    for _ in range(4):
        limit.answered(limit.items)

    assert (after_a_small_one, limit.items) == (2, 10)


@pytest.mark.parametrize(
    ("sizes_bytes", "fitting"),
    [
        ([], 0),
        ([0] * 10, 5),
        ([BATCH_BYTES // 2] * 3, 2),
        ([BATCH_BYTES, 1], 1),
        ([BATCH_BYTES + 1, 1], 1),
        ([1, BATCH_BYTES + 1], 1),
    ],
)
def test_a_batch_ends_at_its_bytes_or_its_items_and_a_single_one_always_fits(
    sizes_bytes: list[int], fitting: int
) -> None:
    assert BatchLimit(5).fitting(sizes_bytes) == fitting
