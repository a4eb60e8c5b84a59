"""Tries that wait for each other, and failures that wait for their next turn."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.system.retry import Backoff, retrying, wait_until


class Flaky:
    """Fails so many times, then answers how often it was called."""

    def __init__(self, failures: int, error: type[Exception] = ConnectionError) -> None:
        self.failures, self.error = failures, error
        self.calls = 0

    def __call__(self) -> int:
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error(f"fault {self.calls}")
        return self.calls


def is_away(error: BaseException) -> bool:
    return isinstance(error, ConnectionError)


@given(st.lists(st.floats(0, 0.002), max_size=5), st.integers(0, 8))
def test_every_wait_is_used_once_and_the_last_error_is_raised(
    waits: list[float], failures: int
) -> None:
    flaky, told = Flaky(failures), list[tuple[str, float]]()
    loop = retrying(waits, is_away, lambda error, wait: told.append((str(error), wait)))
    if failures <= len(waits):
        assert loop(flaky) == failures + 1
    else:
        with pytest.raises(ConnectionError, match=f"^fault {len(waits) + 1}$"):
            loop(flaky)
    waited = min(failures, len(waits))
    assert told == [(f"fault {n}", wait) for n, wait in enumerate(waits[:waited], start=1)]
    assert flaky.calls == waited + 1


def test_an_error_that_does_not_pass_ends_the_tries() -> None:
    flaky = Flaky(3, ValueError)
    with pytest.raises(ValueError, match="fault 1"):
        retrying((0.0, 0.0, 0.0), is_away)(flaky)
    assert flaky.calls == 1


def test_it_waits_as_long_as_it_is_told() -> None:
    before = time.monotonic()
    retrying((0.05, 0.1), is_away)(Flaky(2))
    assert time.monotonic() - before >= 0.15


def test_more_than_the_try_can_be_done_again() -> None:
    flaky, prepared = Flaky(2), 0
    for attempt in retrying((0.0, 0.0), is_away):
        prepared += 1
        with attempt:
            flaky()
    assert (prepared, flaky.calls) == (3, 3)


def test_waiting_ends_with_a_true_answer_an_error_or_the_time() -> None:
    answers = iter([0, "", "there"])
    assert wait_until(lambda: next(answers), every=0.0, timeout=60)
    assert next(answers, None) is None

    before = time.monotonic()
    assert not wait_until(lambda: False, every=0.01, timeout=0.05)
    assert time.monotonic() - before >= 0.05
    assert wait_until(lambda: True, every=60, timeout=-1), "asked once in any case"

    with pytest.raises(ValueError, match="fault 1"):
        wait_until(Flaky(1, ValueError), every=0.0, timeout=60)


@given(
    first=st.floats(0.1, 100),
    growth=st.floats(1, 10),
    longest=st.floats(0.1, 1e5),
    failures=st.integers(1, 3000),
)
def test_waits_grow_up_to_the_longest(
    first: float, growth: float, longest: float, failures: int
) -> None:
    backoff = Backoff[str](first, growth)
    waits = [backoff.fail("a", longest) for _ in range(failures)]
    assert waits == sorted(waits) and waits[0] == min(first, longest)
    assert max(waits) <= longest
    for before, after in zip(waits[:8], waits[1:9], strict=False):
        assert after == pytest.approx(min(before * growth, longest))
    backoff.succeed("a")
    assert backoff.fail("a", longest) == waits[0]


def test_only_what_failed_waits_and_only_until_its_time() -> None:
    backoff = Backoff[int](0.1, 2.0)
    assert not backoff.is_waiting(1)
    backoff.fail(1, 60)
    assert backoff.is_waiting(1) and not backoff.is_waiting(2)
    time.sleep(0.11)
    assert not backoff.is_waiting(1)
    backoff.fail(1, 60)
    backoff.succeed(1)
    assert not backoff.is_waiting(1)
