"""Marks stand where their figures say, inside the frame."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ml_backend.serving.project_page.charts import (
    BOTTOM,
    LEFT,
    RIGHT,
    TOP,
    Figure,
    place_calibration,
    place_curve,
    rank_heat,
    scale_y,
    shorten,
)

shares = st.floats(0, 1)


@given(st.lists(st.one_of(st.none(), shares), max_size=120))
def test_every_known_figure_has_one_mark_in_order(values: list[float | None]) -> None:
    marks = place_curve([Figure(f"1-v{i}-abc", v, (0.0, 1.0)) for i, v in enumerate(values)])
    assert [mark.figure.value for mark in marks] == [v for v in values if v is not None]
    places = [mark.x for mark in marks]
    assert places == sorted(places) and all(LEFT <= x <= RIGHT for x in places)
    assert all(TOP <= mark.high <= mark.y <= mark.low <= BOTTOM for mark in marks)
    assert sum(bool(mark.short) for mark in marks) <= 13


@given(shares, shares)
def test_a_larger_share_stands_higher(a: float, b: float) -> None:
    assert (a <= b) == (scale_y(a) >= scale_y(b)) or abs(a - b) < 1e-3


def test_a_calibration_says_its_ranges_in_words() -> None:
    (mark,) = place_calibration(
        [{"low": 0.8, "high": 0.9, "boxes": 10, "confidence": 0.85, "right": 0.8}]
    )
    assert mark.text == "10 boxes with confidence 0.8 to 0.9: 80 % are right"
    assert place_calibration([]) == []


def test_names_and_heat() -> None:
    assert shorten("3-v12-0a1b2c3d") == "v12" and shorten("plain") == "plain"
    assert [rank_heat(n, 100) for n in (0, 1, 30, 60, 100)] == [0, 1, 2, 3, 4]
    assert rank_heat(3, 0) == 0
