"""A cache within a bound of bytes: whatever is kept, never more than the bound."""

from __future__ import annotations

from cachetools import LRUCache
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.system.bounded_cache import BoundedCache


@given(st.lists(st.tuples(st.integers(0, 9), st.binary(max_size=60)), max_size=40))
def test_the_newest_that_fit_are_found_and_the_bound_holds(kept: list[tuple[int, bytes]]) -> None:
    cache: BoundedCache[int, bytes] = BoundedCache(LRUCache(100, getsizeof=len))
    last: dict[int, bytes] = {}
    for key, value in kept:
        cache.keep(key, value)
        last[key] = value
    found = {key: value for key in last if (value := cache.find(key)) is not None}
    assert all(value == last[key] for key, value in found.items())
    assert sum(map(len, found.values())) <= 100
    if kept:
        assert cache.find(kept[-1][0]) == kept[-1][1]


def test_what_is_larger_than_all_of_it_is_not_kept() -> None:
    cache: BoundedCache[str, bytes] = BoundedCache(LRUCache(10, getsizeof=len))
    cache.keep("small", b"123")
    cache.keep("large", b"12345678901")
    assert cache.find("large") is None and cache.find("small") == b"123"
