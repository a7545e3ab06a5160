"""The keys under which a handler creates tasks: the same in each attempt of a run, and no other task's."""

from __future__ import annotations

import string
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import pytest

from task_worker.create_keys import OWN_KEY_CHARS, CreateKeys

TASK = UUID("019dd6a4-0800-7000-8000-000000000000")


def keys(task_id: UUID = TASK, rerun_count: int = 0) -> CreateKeys:
    return CreateKeys(task_id, rerun_count)


def test_each_attempt_makes_the_same_keys_in_whatever_order_it_creates() -> None:
    first, second = keys(), keys()

    made = [first.of_content(body) for body in (b'{"a": 1, "b": [1, 2]}', b'{"a": 2}', b'{"a": 2}')]
    again = [second.of_content(body) for body in (b'{"a":2}', b'{"b":[1,2],"a":1}', b'{"a":2}')]

    assert sorted(made) == sorted(again)
    assert len(set(made)) == 3


@pytest.mark.parametrize("body", [b'{"a": [2, 1]}', b'{"a": [1, 2.0]}', b'{"b": [1, 2]}', b'{"a": ["1", 2]}'])
def test_another_body_has_another_key(body: bytes) -> None:
    assert keys().of_content(body) != keys().of_content(b'{"a": [1, 2]}')


def test_another_task_and_another_run_have_other_keys() -> None:
    made = [keys().of_content(b"{}"), keys(uuid4()).of_content(b"{}"), keys(rerun_count=1).of_content(b"{}")]
    own = [keys().of_own("k"), keys(uuid4()).of_own("k"), keys(rerun_count=1).of_own("k")]

    assert len({*made, *own}) == 6


def test_an_own_key_is_the_same_each_time_and_no_derived_one() -> None:
    one = keys()
    derived = one.of_content(b"{}")

    assert one.of_own("k") == one.of_own("k") == keys().of_own("k")
    assert one.of_own(derived.removeprefix(f"{TASK}:0:")) != derived


def test_a_key_that_was_made_here_can_be_given_again() -> None:
    derived, own = keys().of_content(b"{}"), keys().of_own("k")

    assert (keys().of_own(derived), keys().of_own(own)) == (derived, own)


def test_the_longest_keys_fit_into_the_header() -> None:
    made = keys(rerun_count=2**31 - 1)

    every = [made.of_own("~" * OWN_KEY_CHARS), made.of_content(b"{}")]

    visible = set(string.ascii_letters + string.digits + string.punctuation)
    assert all(len(key) <= 255 and set(key) <= visible for key in every)
    with pytest.raises(ValueError, match="at most 200 characters"):
        made.of_own("~" * (OWN_KEY_CHARS + 1))


def test_threads_that_create_at_once_get_each_number_once() -> None:
    made = keys()

    with ThreadPoolExecutor(8) as threads:
        every = list(threads.map(lambda n: made.of_content(b'{"n": %d}' % (n % 3)), range(3_000)))

    assert Counter(key.rpartition(":")[0] for key in every).total() == len(set(every)) == 3_000
    assert {int(key.rpartition(":")[2]) for key in every} == set(range(1_000))
