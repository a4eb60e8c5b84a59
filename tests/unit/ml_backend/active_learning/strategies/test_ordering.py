"""Streams that take turns give every item once, and keep to the pattern while they last."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.active_learning.strategies.ordering import score_places, take_turns


@given(st.lists(st.permutations(range(7)), min_size=1, max_size=4), st.data())
def test_every_item_comes_once(streams: list[list[int]], data: st.DataObject) -> None:
    pattern = data.draw(st.lists(st.integers(0, len(streams) - 1), max_size=5))
    order = take_turns(streams, [*pattern, *range(len(streams))])
    assert sorted(order) == list(range(7))
    scores = score_places(order)
    assert np.argsort(scores).tolist() == order and scores.min() == 0 and scores.max() < 1


def test_turns_by_hand() -> None:
    assert take_turns([[0, 1, 2], [2, 3, 4, 5]], (0, 0, 1)) == [0, 1, 2, 3, 4, 5]
    assert take_turns([[5, 4], [0, 1, 2, 3]], (0, 1)) == [5, 0, 4, 1, 2, 3]
    assert take_turns([[]], [0]) == []
