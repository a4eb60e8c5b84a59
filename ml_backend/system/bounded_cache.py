"""What was used last, kept within a bound of bytes; safe for threads."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

from cachetools import Cache

K = TypeVar("K")
V = TypeVar("V")


class BoundedCache(Generic[K, V]):
    """Keeps values that are asked for again.

    Args:
        kept: Decides what goes first, and how large a value is.
    """

    def __init__(self, kept: Cache[K, V]) -> None:
        self._kept = kept
        self._lock = threading.Lock()

    def find(self, key: K) -> V | None:
        """Find a value; None where it was not kept, or not lately."""
        with self._lock:
            return self._kept.get(key)

    def keep(self, key: K, value: V) -> None:
        """Keep a value, which must not be changed any more; none that is larger than all."""
        with self._lock:
            if self._kept.getsizeof(value) <= self._kept.maxsize:
                self._kept[key] = value
