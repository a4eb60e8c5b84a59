"""Boxes: pairs are chosen in turn."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ml_backend.imaging.boxes import choose_pairs

places = st.integers(0, 6)


@given(st.lists(st.tuples(places, places), max_size=30))
def test_a_pair_is_chosen_unless_an_earlier_one_has_taken_a_side(
    pairs: list[tuple[int, int]],
) -> None:
    chosen = choose_pairs(pairs)
    firsts, seconds = [i for i, _ in chosen], [j for _, j in chosen]
    assert len(set(firsts)) == len(firsts) and len(set(seconds)) == len(seconds)
    assert chosen == [pair for pair in dict.fromkeys(pairs) if pair in chosen]  # in their order
    for number, (i, j) in enumerate(pairs):
        earlier = [pair for pair in pairs[: number + 1] if pair in chosen]
        assert any(i == a or j == b for a, b in earlier)
