"""The difficulty of a class, by hand."""

from __future__ import annotations

import pytest

from ml_backend.active_learning.difficulty import measure_difficulty
from ml_backend.imaging.boxes import Boxes


def test_a_mean_over_the_objects_of_a_class() -> None:
    true = Boxes.from_rows([(0, 0, 10, 10, "a"), (50, 0, 60, 10, "a"), (0, 50, 10, 60, "b")])
    found = Boxes(
        [[0, 0, 10, 10], [0, 0, 10, 8], [0, 50, 10, 60]], ["a", "a", "a"], [0.5, 0.9, 0.9]
    )
    difficulty = measure_difficulty([(true, found), (Boxes(), found)])
    # The second box is the better one for the first object; the second has none, and b none of b.
    quality = 0.9**0.6 * 0.8**0.4
    assert difficulty == pytest.approx({"a": (1 - quality + 1) / 2, "b": 1.0})
