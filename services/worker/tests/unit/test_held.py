from __future__ import annotations

import time
from collections.abc import Callable
from uuid import uuid4

import pytest

from task_store import Claim, HeldRow
from task_worker.lease.in_flight import Attempt, Held, StopReason

MakeClaim = Callable[..., Claim]


@pytest.fixture
def held() -> Held:
    return Held(claim_seconds=6)


@pytest.fixture
def take(held: Held, a_claim: MakeClaim) -> Callable[..., Attempt]:
    def make(**fields: object) -> Attempt:
        attempt = Attempt(a_claim(**fields), timeout_seconds=60)
        held.take(attempt)
        return attempt

    return make


def row_of(attempt: Attempt, *, is_cancel_requested: bool = False) -> HeldRow:
    return HeldRow(attempt.claim.id, attempt.claim.lease_token, is_cancel_requested)


def a_row() -> HeldRow:
    return HeldRow(uuid4(), uuid4(), is_cancel_requested=False)


class TestReadBack:
    def test_where_both_agree_nothing_is_to_be_done(self, held: Held, take: Callable[..., Attempt]) -> None:
        attempt = take()

        differences = held.compare(0, [attempt], [row_of(attempt)])

        assert (differences.not_held, differences.cancelled, differences.unknown) == ((), (), ())

    def test_held_when_asked_and_not_returned_is_to_be_stopped(self, held: Held, take: Callable[..., Attempt]) -> None:
        mine, gone = take(), take()

        assert held.compare(0, [mine, gone], [row_of(mine)]).not_held == (gone,)

    def test_an_attempt_that_began_after_the_question_is_left_alone(
        self, held: Held, take: Callable[..., Attempt]
    ) -> None:
        take()

        differences = held.compare(0, [], [])

        assert (differences.not_held, differences.unknown) == ((), ())

    def test_a_row_under_another_token_means_that_the_attempt_is_not_held(
        self, held: Held, take: Callable[..., Attempt]
    ) -> None:
        attempt = take()
        later = HeldRow(attempt.claim.id, uuid4(), is_cancel_requested=False)

        differences = held.compare(0, [attempt], [later])

        assert (differences.not_held, differences.unknown) == ((attempt,), (later,))

    def test_a_cancel_that_was_requested_is_seen(self, held: Held, take: Callable[..., Attempt]) -> None:
        attempt, other = take(), take()

        differences = held.compare(0, [attempt, other], [row_of(attempt, is_cancel_requested=True), row_of(other)])

        assert (differences.cancelled, differences.not_held) == ((attempt,), ())

    def test_a_cancel_of_an_earlier_attempt_does_not_hit_the_later_one(
        self, held: Held, take: Callable[..., Attempt]
    ) -> None:
        attempt = take()

        differences = held.compare(0, [attempt], [HeldRow(attempt.claim.id, uuid4(), is_cancel_requested=True)])

        assert differences.cancelled == ()

    def test_a_row_that_nobody_here_holds_is_unknown(self, held: Held) -> None:
        row = a_row()

        assert held.compare(0, [], [row]).unknown == (row,)

    def test_a_row_of_a_claim_under_way_is_known(self, held: Held) -> None:
        row = a_row()
        held.claim_begins(row.lease_token)

        assert held.compare(0, [], [row]).unknown == ()

    def test_a_row_that_was_taken_between_question_and_comparison_is_known(
        self, held: Held, take: Callable[..., Attempt]
    ) -> None:
        attempt = take()

        assert held.compare(0, [], [row_of(attempt)]).unknown == ()

    def test_a_row_of_a_claim_that_was_given_up_is_unknown(self, held: Held) -> None:
        row = a_row()
        held.claim_begins(row.lease_token)
        held.claim_unanswered(row.lease_token)

        assert held.compare(0, [], [row]).unknown == (row,)


class TestUnknownClaims:
    def test_a_claim_without_an_answer_stays_unknown_until_a_late_enough_read_back(self, held: Held) -> None:
        token = uuid4()
        held.claim_begins(token)
        assert not held.has_unknown_claim
        held.claim_unanswered(token)
        now = time.monotonic()

        held.compare(now + 5, [], [])
        assert held.has_unknown_claim
        held.compare(now + 6.1, [], [])
        assert not held.has_unknown_claim

    def test_an_answered_claim_is_not_unknown(self, held: Held) -> None:
        token = uuid4()
        held.claim_begins(token)
        assert not held.is_clear

        held.claim_answered(token)

        assert held.is_clear
        assert not held.has_unknown_claim


class TestHolding:
    def test_only_the_attempt_itself_can_be_dropped(
        self, held: Held, take: Callable[..., Attempt], a_claim: MakeClaim
    ) -> None:
        attempt = take()
        stranger = Attempt(a_claim(id=attempt.claim.id), 60)

        held.drop(stranger)
        assert held.get(attempt.claim.id) is attempt
        assert attempt.claim.id in held
        held.drop(attempt)

        assert len(held) == 0
        assert held.is_clear

    def test_what_runs_is_told_from_what_is_only_held(self, held: Held, take: Callable[..., Attempt]) -> None:
        running, ended = take(), take()
        ended.is_running = False

        assert held.running() == [running]
        assert set(map(id, held.attempts())) == {id(running), id(ended)}


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

    def test_who_comes_late_is_told_at_once(self, take: Callable[..., Attempt]) -> None:
        attempt, asked = take(), []
        attempt.stop(StopReason.DRAIN)

        attempt.on_stop(lambda: asked.append(1))

        assert asked == [1]

    def test_code_that_has_ended_is_not_stopped(self, take: Callable[..., Attempt]) -> None:
        attempt = take()
        attempt.is_running = False

        attempt.stop(StopReason.CANCEL)

        assert attempt.stop_reason is None
