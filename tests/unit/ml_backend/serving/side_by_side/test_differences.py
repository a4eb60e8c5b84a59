"""Where two versions differ: every box is in exactly one place."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ml_backend.imaging.boxes import Boxes
from ml_backend.serving.side_by_side.differences import find_differences

rows = st.lists(
    st.tuples(st.integers(0, 50), st.integers(0, 50), st.sampled_from("AB")), max_size=8
)


def make(cells: list[tuple[int, int, str]]) -> Boxes:
    return Boxes.from_rows((x, y, x + 20, y + 20, label) for x, y, label in cells)


def test_new_lost_and_renamed() -> None:
    left = make([(0, 0, "A"), (30, 0, "A"), (0, 30, "A")])
    right = make([(1, 0, "A"), (30, 1, "B"), (50, 50, "A")])
    found = find_differences(left, right)
    assert (found.only_left, found.only_right, found.renamed) == ((2,), (2,), ((1, 1),))
    assert found.count == 3


@given(rows, rows)
def test_every_box_is_matched_or_left_over(one: list, other: list) -> None:
    there = find_differences(make(one), make(other))
    matched = len(one) - len(there.only_left)
    assert matched == len(other) - len(there.only_right)
    assert not set(there.only_left) & {i for i, _ in there.renamed}


@given(rows)
def test_a_version_does_not_differ_from_itself(cells: list) -> None:
    boxes = make(list({(x, y): (x, y, label) for x, y, label in cells}.values()))
    assert find_differences(boxes, boxes).count == 0
