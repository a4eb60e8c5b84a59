"""A long row of items in batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def make_growing_batches(items: Iterable[T], first: int, most: int) -> Iterator[list[T]]:
    """Yield the items in order, in lists each twice as long as the one before.

    Args:
        items: May be endless.
        first: Items of the first list.
        most: Items of the longest list.
    """
    iterator, size = iter(items), first
    while part := list(islice(iterator, size)):
        yield part
        size = min(2 * size, most)


def make_batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield the items in order, in lists of up to `size`.

    It is itertools.batched, which Python 3.11 lacks.
    """
    iterator = iter(items)
    while part := list(islice(iterator, size)):
        yield part
