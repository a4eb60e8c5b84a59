"""What two forms of a detector agree on, by boxes that are moved, lost and made up."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.evaluation.detector_agreement import Agreement, Margins, compare_detectors
from ml_backend.imaging.boxes import Boxes

HEADLINE = ("Mitotic cell",)
ENOUGH = Margins(tiles=1)


def cells(*corners: tuple[float, float], label: str = "Mitotic cell") -> Boxes:
    return Boxes.from_rows((x, y, x + 40, y + 40, label) for x, y in corners)


def test_the_same_boxes_agree_wholly() -> None:
    boxes = cells((10, 10), (200, 50))
    report = compare_detectors([(boxes, boxes), (Boxes(), Boxes())], HEADLINE)
    assert report == Agreement(2, (2, 2), 1.0, 1.0, 0.0)
    assert report.list_doubts(ENOUGH) == []
    assert report.to_json(ENOUGH)["accepted"] is True


def test_what_is_lost_made_up_or_moved_counts() -> None:
    pairs = [
        (cells((10, 10), (200, 50)), cells((10, 10))),  # one lost
        (cells((10, 10)), cells((13, 10))),  # both of its upright edges 3 px to the right
        (Boxes(), cells((300, 300))),  # one made up
        (cells((10, 10)), cells((10, 10))),
    ]
    report = compare_detectors(pairs, HEADLINE)
    assert report.boxes == (4, 4)
    assert report.f1 == 0.75  # 3 of 4 and 3 of 4
    assert report.same == 0.75
    assert report.shift == 0.0  # two of twelve edges moved
    assert len(report.list_doubts(ENOUGH)) == 2
    assert "F1" in report.list_doubts(ENOUGH)[0]


def test_other_classes_do_not_count() -> None:
    report = compare_detectors([(cells((10, 10)), cells((10, 10), label="Other"))], HEADLINE)
    assert (report.boxes, report.f1, report.shift) == ((1, 0), 0.0, None)
    assert report.list_doubts(ENOUGH)


def test_too_few_tiles_or_empty_ones_prove_nothing() -> None:
    boxes = cells((10, 10))
    assert "only 2 tiles" in compare_detectors([(boxes, boxes)] * 2, HEADLINE).list_doubts()[0]
    assert "nothing" in compare_detectors([(Boxes(), Boxes())] * 2, HEADLINE).list_doubts(ENOUGH)[0]


@given(st.floats(0, 12), st.integers(1, 5))
def test_a_common_shift_is_measured(shift: float, number: int) -> None:
    boxes = cells(*((100.0 * i, 50.0) for i in range(number)))
    two = cells(*((100.0 * i + shift, 50.0 + shift) for i in range(number)))
    found = compare_detectors([(boxes, two)], HEADLINE).shift
    assert found is None or np.isclose(found, shift, atol=1e-3)
    assert found is not None or shift > 6
