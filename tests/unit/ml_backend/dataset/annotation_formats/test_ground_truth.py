"""What people marked, held against the image that is there."""

from __future__ import annotations

import pytest
from globox import BoundingBox
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.dataset.annotation_formats.ground_truth import (
    GroundTruth,
    check_size,
    fit_to_image,
)
from ml_backend.dataset.annotation_formats.records import Annotation, ImageAnnotations
from tests.detections import laws

SIZE = (60, 40)

Entry = tuple[float, float, float, float, str, bool]
sides = st.floats(-100, 100)
entries = st.lists(
    st.tuples(sides, sides, sides, sides, st.sampled_from(["x", " y ", " "]), st.booleans())
)


def read_box(entry: Entry) -> Annotation:
    x1, y1, x2, y2, label, ignored = entry
    return Annotation(BoundingBox(label=label, xmin=x1, ymin=y1, xmax=x2, ymax=y2), ignored)


@laws
@given(entries)
def test_every_box_is_kept_within_the_image_or_listed(found: list[Entry]) -> None:
    truth = fit_to_image(ImageAnnotations("a", found, read_box), SIZE)
    assert truth.total == len(found)
    for x1, y1, x2, y2 in [*truth.ignored, *(row[:4] for row in truth.rows)]:
        assert 0 <= x1 < x2 <= SIZE[0] and 0 <= y1 < y2 <= SIZE[1]
    assert {row[4] for row in truth.rows} <= {"x", "y"}


@laws
@given(entries, st.integers(0, 20))
def test_a_box_that_cannot_be_read_changes_nothing_for_the_others(
    found: list[Entry], place: int
) -> None:
    alone = fit_to_image(ImageAnnotations("a", found, read_box), SIZE)
    beside = [*found[:place], (1, 2, 3), *found[place:]]
    truth = fit_to_image(ImageAnnotations("a", beside, read_box), SIZE)
    assert (truth.rows, truth.ignored) == (alone.rows, alone.ignored)
    assert len(truth.faults) == len(alone.faults) + 1


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        ((5, 5, 5, 9, "x", False), "its size is zero"),
        ((70, 1, 80, 9, "x", False), "it lies outside the image"),
        ((1, 1, 9, 9, " ", False), "it has no label"),
        ((float("nan"), 1, 9, 9, "x", False), "`xmax` must be greater than `xmin`."),
    ],
)
def test_a_fault_is_put_in_words(entry: Entry, fault: str) -> None:
    assert fit_to_image(ImageAnnotations("a", [entry], read_box), SIZE).faults == [fault]


def test_an_image_of_another_size_is_refused() -> None:
    check_size(None, SIZE)
    check_size((60.0, 40), SIZE)
    with pytest.raises(ValueError, match="made for 640×480 px, the image has 60×40"):
        fit_to_image(ImageAnnotations("a", [], read_box, (640, 480)), SIZE)


def test_two_parts_of_a_truth_are_added() -> None:
    truth = GroundTruth(SIZE, [(1, 1, 2, 2, "x")], [(1, 1, 3, 3)], ["a"])
    truth.extend(GroundTruth(SIZE, [(2, 2, 3, 3, "y")], [], ["b"]))
    assert truth == GroundTruth(
        SIZE, [(1, 1, 2, 2, "x"), (2, 2, 3, 3, "y")], [(1, 1, 3, 3)], ["a", "b"]
    )
    assert truth.total == 5
