"""Trying again: at once in a loop that waits, or later when a loop of its own comes by again."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Generic, TypeVar

import tenacity

K = TypeVar("K", bound=Hashable)

# Growth stops to matter long before its power is no number any more.
_MOST_GROWTHS = 9


def retrying(
    waits: Sequence[float],
    passes: Callable[[BaseException], bool],
    tell: Callable[[BaseException, float], None] = lambda error, wait: None,
) -> tenacity.Retrying:
    """Make a loop of tries, `len(waits) + 1` at most.

    Use it as `retrying(...)(act, argument)`, which returns what `act` returns, or, where more than
    the try itself has to be done again, as

        for attempt in retrying(...):
            with attempt:
                ...

    Args:
        waits: Seconds before the second try, the third, and so on.
        passes: Whether an error may go away by itself. Any other one ends the tries.
        tell: Called with the error and the seconds of the wait before each wait.

    Returns:
        The loop. It raises the last error as it was.
    """

    def before_sleep(state: tenacity.RetryCallState) -> None:
        if state.outcome and state.next_action and (error := state.outcome.exception()):
            tell(error, state.next_action.sleep)

    return tenacity.Retrying(
        retry=tenacity.retry_if_exception(passes),
        # Tenacity asks for a wait after the last try too.
        wait=lambda state: (*waits, 0.0)[state.attempt_number - 1],
        stop=tenacity.stop_after_attempt(len(waits) + 1),
        before_sleep=before_sleep,
        reraise=True,
    )


def wait_until(is_done: Callable[[], Any], *, every: float, timeout: float) -> bool:
    """Ask again and again, at least once, until the answer is true.

    Args:
        is_done: What to ask; its errors are raised.
        every: Seconds between two questions.
        timeout: Seconds after which no further question is asked.

    Returns:
        Whether the answer was true in time.
    """
    loop = tenacity.Retrying(
        retry=tenacity.retry_if_result(lambda done: not done),
        wait=tenacity.wait_fixed(every),
        stop=tenacity.stop_after_delay(timeout),
        retry_error_callback=lambda state: False,
    )
    return bool(loop(is_done))


def grow_wait(first: float, growth: float, failures: int, longest: float) -> float:
    """Compute how long to wait for another try, in seconds.

    Args:
        first: After the first failure.
        growth: How many times longer each further wait is.
        failures: How many there were before this one.
        longest: The most.
    """
    return min(first * growth ** min(failures, _MOST_GROWTHS), longest)


class Backoff(Generic[K]):
    """When to try again what failed, by key: after ever longer waits, until it succeeds.

    For loops that go round many things and must not stand still for one of them: they skip what
    still waits. Kept in memory; safe to use from several threads for different keys.
    """

    def __init__(self, first: float, growth: float) -> None:
        """Start with nothing that failed.

        Args:
            first: Seconds to wait after the first failure.
            growth: How many times longer each further wait is.
        """
        self._first, self._growth = first, growth
        self._failures: dict[K, int] = {}
        # Until when each waits, by a clock that nobody sets.
        self._waits: dict[K, float] = {}

    def fail(self, key: K, longest: float) -> float:
        """Note a failure.

        Args:
            key: What failed.
            longest: The most seconds to wait.

        Returns:
            The seconds that it waits now.
        """
        failures = self._failures.get(key, 0)
        wait = grow_wait(self._first, self._growth, failures, longest)
        self._failures[key] = failures + 1
        self._waits[key] = time.monotonic() + wait
        return wait

    def succeed(self, key: K) -> None:
        """Forget the failures of `key`; the next one waits as the first one did."""
        self._failures.pop(key, None)
        self._waits.pop(key, None)

    def is_waiting(self, key: K) -> bool:
        """Tell whether `key` still has to wait."""
        return time.monotonic() < self._waits.get(key, float("-inf"))
