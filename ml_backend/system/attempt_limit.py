"""A bound on how often a password may be guessed."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

# Failures that are forgiven within a time, of one sender and of all together.
MOST_FAILURES, MOST_OF_ALL, SECONDS = 5, 60, 300.0
# Senders that are remembered; the one that was silent longest is forgotten first.
_MOST_SENDERS = 10_000


class AttemptLimit:
    """Counts failed logins by sender; safe among threads.

    Args:
        clock: Tells the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: OrderedDict[str, list[float]] = OrderedDict()
        self._lock = threading.Lock()

    def compute_wait(self, sender: str) -> float:
        """Return for how many seconds a sender may not try again; 0 where it may now."""
        with self._lock:
            self._forget_old()
            own = self._failures.get(sender, [])
            everyone = sorted(at for failures in self._failures.values() for at in failures)
            due = [
                failures[-most] + SECONDS
                for failures, most in ((own, MOST_FAILURES), (everyone, MOST_OF_ALL))
                if len(failures) >= most
            ]
            return max((at - self._clock() for at in due), default=0.0)

    def note_failure(self, sender: str) -> None:
        """Count a failed login of a sender."""
        with self._lock:
            self._failures.setdefault(sender, []).append(self._clock())
            self._failures.move_to_end(sender)
            while len(self._failures) > _MOST_SENDERS:
                self._failures.popitem(last=False)

    def forget(self, sender: str) -> None:
        """Forgive a sender who has logged in."""
        with self._lock:
            self._failures.pop(sender, None)

    def _forget_old(self) -> None:
        oldest = self._clock() - SECONDS
        for sender, failures in list(self._failures.items()):
            kept = [at for at in failures if at > oldest]
            if kept:
                self._failures[sender] = kept
            else:
                del self._failures[sender]
