from hypothesis import given
from hypothesis import strategies as st

from ml_backend.system.batching import make_batches, make_growing_batches

sizes = st.integers(1, 40)


@given(st.lists(st.integers()), sizes)
def test_chunks_are_the_items_in_order(items: list[int], size: int) -> None:
    parts = list(make_batches(items, size))
    assert sum(parts, []) == items
    assert all(len(part) == size for part in parts[:-1])
    assert all(parts)


@given(st.lists(st.integers(), max_size=300), sizes, sizes)
def test_growing_chunks_are_the_items_in_order(items: list[int], first: int, more: int) -> None:
    most = first + more
    parts = list(make_growing_batches(items, first, most))
    assert sum(parts, []) == items
    assert all(part for part in parts)
    for i, part in enumerate(parts[:-1]):
        assert len(part) == min(first * 2**i, most)
