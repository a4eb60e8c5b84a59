"""A long row of things in handy parts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def growing(items: Iterable[T], first: int, most: int) -> Iterator[list[T]]:
    """Lists in order, each twice as long as the one before: from `first` up to `most` items."""
    iterator, size = iter(items), first
    while part := list(islice(iterator, size)):
        yield part
        size = min(2 * size, most)


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of up to `size` items in order; as itertools.batched, which Python 3.11 lacks."""
    iterator = iter(items)
    while part := list(islice(iterator, size)):
        yield part
