"""How often a password may be guessed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ml_backend.system.attempt_limit import (
    MOST_FAILURES,
    MOST_OF_ALL,
    SECONDS,
    AttemptLimit,
)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_after_five_failures_a_sender_waits_and_others_do_not() -> None:
    clock = Clock()
    limit = AttemptLimit(clock)
    for _ in range(MOST_FAILURES):
        assert limit.compute_wait("a") == 0
        limit.note_failure("a")
    assert limit.compute_wait("a") == SECONDS and limit.compute_wait("b") == 0
    clock.now = SECONDS
    assert limit.compute_wait("a") == 0


def test_who_logged_in_is_forgiven() -> None:
    limit = AttemptLimit(Clock())
    for _ in range(MOST_FAILURES):
        limit.note_failure("a")
    limit.forget("a")
    assert limit.compute_wait("a") == 0


def test_many_senders_together_are_bounded_too() -> None:
    limit = AttemptLimit(Clock())
    for number in range(MOST_OF_ALL):
        limit.note_failure(f"sender {number}")
    assert limit.compute_wait("a new one") > 0


@given(st.lists(st.floats(0, 1000), max_size=60))
def test_no_sender_fails_more_often_within_the_time(waits: list[float]) -> None:
    clock, failures = Clock(), []
    limit = AttemptLimit(clock)
    for wait in waits:
        clock.now += wait
        if limit.compute_wait("a") == 0:
            limit.note_failure("a")
            failures.append(clock.now)
    for at in failures:
        assert sum(at <= other < at + SECONDS for other in failures) <= MOST_FAILURES
