from __future__ import annotations

import time
from collections.abc import Callable
from uuid import uuid4

import pytest

from task_store import Claim, HeldRow
from task_worker.lease.in_flight import Attempt, InFlight, StopReason

MakeClaim = Callable[..., Claim]


@pytest.fixture
def in_flight() -> InFlight:
    return InFlight(claim_seconds=6)


@pytest.fixture
def take(in_flight: InFlight, a_claim: MakeClaim) -> Callable[..., Attempt]:
    def make(**fields: object) -> Attempt:
        attempt = Attempt(a_claim(**fields), 60, 3)
        in_flight.take(attempt)
        return attempt

    return make


def row_of(attempt: Attempt, *, is_cancel_requested: bool = False) -> HeldRow:
    return HeldRow(attempt.claim.id, attempt.claim.lease_token, is_cancel_requested)


def a_row() -> HeldRow:
    return HeldRow(uuid4(), uuid4(), is_cancel_requested=False)


class TestReconciling:
    def test_where_both_agree_nothing_is_to_be_done(self, in_flight: InFlight, take: Callable[..., Attempt]) -> None:
        attempt = take()

        differences = in_flight.compare(0, [attempt], [row_of(attempt)])

        assert (differences.not_held, differences.cancelled, differences.unknown) == ((), (), ())

    def test_an_attempt_without_a_row_is_to_be_stopped(self, in_flight: InFlight, take: Callable[..., Attempt]) -> None:
        mine, gone = take(), take()

        assert in_flight.compare(0, [mine, gone], [row_of(mine)]).not_held == (gone,)

    def test_an_attempt_that_began_after_the_query_is_left_alone(
        self, in_flight: InFlight, take: Callable[..., Attempt]
    ) -> None:
        take()

        differences = in_flight.compare(0, [], [])

        assert (differences.not_held, differences.unknown) == ((), ())

    def test_a_row_under_another_token_means_that_the_attempt_is_not_held(
        self, in_flight: InFlight, take: Callable[..., Attempt]
    ) -> None:
        attempt = take()
        later = HeldRow(attempt.claim.id, uuid4(), is_cancel_requested=False)

        differences = in_flight.compare(0, [attempt], [later])

        assert (differences.not_held, differences.unknown) == ((attempt,), (later,))

    def test_a_cancel_that_was_requested_is_seen(self, in_flight: InFlight, take: Callable[..., Attempt]) -> None:
        attempt, other = take(), take()

        differences = in_flight.compare(0, [attempt, other], [row_of(attempt, is_cancel_requested=True), row_of(other)])

        assert (differences.cancelled, differences.not_held) == ((attempt,), ())

    def test_a_cancel_of_an_earlier_attempt_does_not_hit_the_later_one(
        self, in_flight: InFlight, take: Callable[..., Attempt]
    ) -> None:
        attempt = take()

        differences = in_flight.compare(0, [attempt], [HeldRow(attempt.claim.id, uuid4(), is_cancel_requested=True)])

        assert differences.cancelled == ()

    def test_a_row_without_an_attempt_is_unknown(self, in_flight: InFlight) -> None:
        row = a_row()

        assert in_flight.compare(0, [], [row]).unknown == (row,)

    def test_a_row_of_a_claim_under_way_is_known(self, in_flight: InFlight) -> None:
        row = a_row()
        in_flight.claim_begins(row.lease_token)

        assert in_flight.compare(0, [], [row]).unknown == ()

    def test_a_row_of_an_attempt_that_began_after_the_query_is_known(
        self, in_flight: InFlight, take: Callable[..., Attempt]
    ) -> None:
        attempt = take()

        assert in_flight.compare(0, [], [row_of(attempt)]).unknown == ()

    def test_a_row_of_a_claim_that_was_given_up_is_unknown(self, in_flight: InFlight) -> None:
        row = a_row()
        in_flight.claim_begins(row.lease_token)
        in_flight.claim_unanswered(row.lease_token, [row.id])

        assert in_flight.compare(0, [], [row]).unknown == (row,)


class TestUnknownClaims:
    def test_a_claim_without_an_answer_stays_unknown_until_a_late_enough_reconciling(self, in_flight: InFlight) -> None:
        token = uuid4()
        in_flight.claim_begins(token)
        assert not in_flight.has_unknown_claim
        in_flight.claim_unanswered(token, [])
        now = time.monotonic()

        in_flight.compare(now + 5, [], [])
        assert in_flight.has_unknown_claim
        in_flight.compare(now + 6.1, [], [])
        assert not in_flight.has_unknown_claim

    def test_a_late_claim_stays_unknown_until_its_rows_are_given_back(self, in_flight: InFlight) -> None:
        row = a_row()
        in_flight.claim_begins(row.lease_token)
        in_flight.claim_unanswered(row.lease_token, [row.id])
        later = time.monotonic() + 6.1

        in_flight.compare(later, [], [row])
        assert in_flight.has_unknown_claim
        in_flight.compare(later, [], [])
        assert not in_flight.has_unknown_claim

    def test_an_answered_claim_is_not_unknown(self, in_flight: InFlight) -> None:
        token = uuid4()
        in_flight.claim_begins(token)
        assert not in_flight.is_clear

        in_flight.claim_answered(token)

        assert in_flight.is_clear
        assert not in_flight.has_unknown_claim


class TestAttemptsInFlight:
    def test_only_the_attempt_itself_can_be_dropped(
        self, in_flight: InFlight, take: Callable[..., Attempt], a_claim: MakeClaim
    ) -> None:
        attempt = take()
        later = Attempt(a_claim(id=attempt.claim.id), 60, 3)

        in_flight.drop(later)
        assert in_flight.attempts() == [attempt]
        assert attempt.claim.id in in_flight
        in_flight.drop(attempt)

        assert len(in_flight) == 0
        assert in_flight.is_clear

    def test_running_attempts_are_listed_apart_from_those_only_in_flight(
        self, in_flight: InFlight, take: Callable[..., Attempt]
    ) -> None:
        running, ended = take(), take()
        ended.is_running = False

        assert in_flight.running() == [running]
        assert set(map(id, in_flight.attempts())) == {id(running), id(ended)}


class TestStopping:
    def test_the_first_reason_counts_and_asks_once(self, take: Callable[..., Attempt]) -> None:
        attempt, asked = take(), []
        attempt.on_stop(lambda: asked.append(attempt.stop_reason))

        for reason in (StopReason.CANCEL, StopReason.TIMEOUT, StopReason.DRAIN):
            attempt.stop(reason)

        assert asked == [StopReason.CANCEL]

    @pytest.mark.parametrize("urgent", [StopReason.LEASE_LOST, StopReason.NOT_HELD])
    def test_an_urgent_reason_asks_again_once(self, take: Callable[..., Attempt], urgent: StopReason) -> None:
        attempt, asked = take(), []
        attempt.on_stop(lambda: asked.append(attempt.is_urgent))

        for reason in (StopReason.TIMEOUT, urgent, urgent, StopReason.LEASE_LOST):
            attempt.stop(reason)

        assert asked == [False, True]
        assert attempt.stop_reason is StopReason.TIMEOUT

    def test_a_callback_that_comes_late_is_called_at_once(self, take: Callable[..., Attempt]) -> None:
        attempt, asked = take(), []
        attempt.stop(StopReason.DRAIN)

        attempt.on_stop(lambda: asked.append(1))

        assert asked == [1]

    def test_code_that_has_ended_is_not_stopped(self, take: Callable[..., Attempt]) -> None:
        attempt = take()
        attempt.is_running = False

        attempt.stop(StopReason.CANCEL)

        assert attempt.stop_reason is None


def test_ids_of_a_claim_without_an_answer_are_asked_for_until_it_is_settled() -> None:
    in_flight = InFlight(claim_seconds=0)
    ids = [uuid4(), uuid4()]
    in_flight.claim_begins(token := uuid4())
    in_flight.claim_unanswered(token, ids)
    before = in_flight.unknown_ids()

    in_flight.compare(time.monotonic() + 1, [], [])

    assert (before, in_flight.unknown_ids()) == (ids, [])
