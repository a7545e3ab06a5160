from __future__ import annotations

import pytest

from task_bus._wire import (
    BODY_BYTES_MAX,
    ForeignMessageError,
    decode_due_tasks,
    decode_signal,
    encode_due_tasks,
    encode_signal,
)
from task_contracts import Signal, SignalKind, limits
from task_contracts.testing import an_id


@pytest.mark.parametrize("number", [1, 50])
def test_ids_come_back_as_they_were(number):
    ids = tuple(an_id() for _ in range(number))

    assert decode_due_tasks(encode_due_tasks(ids)) == ids


@pytest.mark.parametrize("number", [0, limits.MESSAGE_IDS_MAX + 1])
def test_a_message_names_at_least_one_id_and_no_more_than_it_may(number):
    with pytest.raises(ValueError, match="ids"):
        encode_due_tasks([an_id() for _ in range(number)])


def test_a_message_has_its_version_and_nothing_but_ids():
    one = an_id()

    assert encode_due_tasks([one]) == b'{"v":1,"ids":["%s"]}' % str(one).encode()


def test_a_field_that_a_later_minor_version_adds_is_passed_over():
    one = an_id()

    assert decode_due_tasks(b'{"v":1,"ids":["%s"],"trace":"x"}' % str(one).encode()) == (one,)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b"null",
        b"[]",
        b"{}",
        b'{"v":2,"ids":["0199f5d4-0000-7000-8000-000000000000"]}',
        b'{"v":"1","ids":["0199f5d4-0000-7000-8000-000000000000"]}',
        b'{"v":1,"ids":[]}',
        b'{"v":1,"ids":"0199f5d4-0000-7000-8000-000000000000"}',
        b'{"v":1,"ids":[null]}',
        b"[" * 1000,
        b" " * (BODY_BYTES_MAX + 1),
    ],
)
def test_anything_else_is_foreign_and_its_content_stays_out_of_the_error(body):
    with pytest.raises(ForeignMessageError) as caught:
        decode_due_tasks(body)
    with pytest.raises(ForeignMessageError):
        decode_signal(body)

    assert str(caught.value) == ""
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("kind", list(SignalKind))
def test_a_signal_comes_back_as_it_was(kind):
    signal = Signal(kind=kind, queue="default", ids=(an_id(), an_id()))

    assert decode_signal(encode_signal(signal)) == signal


def test_a_signal_of_an_unknown_kind_is_foreign():
    with pytest.raises(ForeignMessageError):
        decode_signal(b'{"v":1,"kind":"gossip"}')
