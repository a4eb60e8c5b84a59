"""How much memory the decoded images of a process may take together.

One image is bounded by its header (`decode.MAX_DECODED`); many at a time are bounded here. Small
images never wait: a hundred of 1,000 × 1,000 px take a third of the budget.
"""

from __future__ import annotations

import threading

from ml_backend.imaging.decode import MAX_DECODED


class DecodeBudget:
    """Bytes of decoded images, shared by all threads.

    Who holds some and asks for more must not wait, or two such would wait for each other: take
    with `seconds` 0, work off what is held, and wait only with nothing in hand.
    """

    def __init__(self, size: int = MAX_DECODED) -> None:
        """Begin with nothing taken; `size` is in bytes."""
        self._size = size
        self._taken = 0
        self._changed = threading.Condition()

    @property
    def taken(self) -> int:
        """How many bytes are taken."""
        return self._taken

    def take(self, size: int, seconds: float | None = 0.0) -> bool:
        """Take bytes, at most the whole budget.

        Args:
            size: How many.
            seconds: How long to wait until they are free; None for as long as it takes.

        Returns:
            Whether they were taken.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._taken + size <= self._size, seconds):
                return False
            self._taken += size
            return True

    def give_back(self, size: int) -> None:
        """Give back bytes that were taken."""
        with self._changed:
            self._taken -= size
            self._changed.notify_all()


BUDGET = DecodeBudget()
"""Of this process."""
