"""What a file has about an image, as detections."""

from __future__ import annotations

from typing import Any

import pytest
from globox import BoundingBox
from hypothesis import given

from ml_backend.dataset.annotation_formats.records import (
    Annotation,
    Detection,
    ImageAnnotations,
    to_detected,
)
from tests.detections import detections, laws


def image(*annotations: Annotation, name: str | None = "a", **options: Any) -> ImageAnnotations:
    return ImageAnnotations(name, annotations, lambda annotation: annotation, **options)


def box(label: str = "x") -> BoundingBox:
    return BoundingBox(label=label, xmin=1.001, ymin=2, xmax=3.0000001, ymax=4)


@laws
@given(detections())
def test_a_detection_becomes_a_box_and_a_detection_again(detection: Detection) -> None:
    annotation = Annotation(
        detection.to_box(),
        confidence=detection.confidence,
        plane=detection.plane,
        partial=detection.partial,
    )
    assert to_detected(image(annotation)).detections == [detection]
    assert detection.x1 + detection.width == pytest.approx(detection.x2)
    assert detection.y1 + detection.height == pytest.approx(detection.y2)


def test_corners_are_those_that_were_written() -> None:
    (detection,) = to_detected(image(Annotation(box()))).detections
    assert (detection.x1, detection.x2) == (1, 3)


@pytest.mark.parametrize(
    ("confidences", "by_hand"), [([], False), ([None, ""], True), ([None, 0.5], False)]
)
def test_only_where_no_box_has_a_confidence_a_person_drew_them(
    confidences: list[Any], by_hand: bool
) -> None:
    detected = to_detected(image(*(Annotation(box(), confidence=c) for c in confidences)))
    assert detected.by_hand == by_hand
    assert [d.confidence for d in detected.detections] == [c or 1.0 for c in confidences]


@pytest.mark.parametrize(
    ("refused", "error"),
    [
        (image(name=None), KeyError),
        (image(Annotation(box(""))), ValueError),
        (image(Annotation(box(), confidence="high")), ValueError),
        (image(Annotation(box(), plane=[3])), TypeError),
        (image(size=("wide", 3)), ValueError),
    ],
)
def test_what_cannot_be_read_is_refused(refused: ImageAnnotations, error: type[Exception]) -> None:
    with pytest.raises(error):
        to_detected(refused)
