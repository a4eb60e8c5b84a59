"""Create ML, written and read."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given

from ml_backend.dataset.annotation_formats.createml import CREATE_ML, read, recognizes
from ml_backend.dataset.annotation_formats.ground_truth import fit_to_image
from ml_backend.dataset.annotation_formats.records import Detected, to_detected
from tests.detections import images, laws, read_text, write_text


def without_what_it_lacks(detected: Detected) -> Detected:
    boxes = [replace(box, plane=0, partial=False) for box in detected.detections]
    return replace(detected, width=0, height=0, detections=boxes)


@laws
@given(found=images())
def test_what_is_written_is_read(found: list[Detected]) -> None:
    again = list(map(to_detected, read_text(CREATE_ML, write_text(CREATE_ML, found))))
    assert again == list(map(without_what_it_lacks, found))


@laws
@given(found=images(min_boxes=1, by_hand=True))
def test_boxes_of_a_person_stay_a_persons(found: list[Detected]) -> None:
    text = write_text(CREATE_ML, found)
    assert "confidence" not in text
    assert all(to_detected(image).by_hand for image in read_text(CREATE_ML, text))


@laws
@given(found=images())
def test_boxes_are_written_by_their_centre(found: list[Detected]) -> None:
    for detected, entry in zip(found, json.loads(write_text(CREATE_ML, found)), strict=True):
        assert entry["image"] == detected.source
        for box, annotation in zip(detected.detections, entry["annotations"], strict=True):
            at = annotation["coordinates"]
            assert (annotation["label"], annotation["confidence"]) == (box.label, box.confidence)
            assert at["x"] - at["width"] / 2 == pytest.approx(box.x1, abs=0.011)
            assert at["x"] + at["width"] / 2 == pytest.approx(box.x2, abs=0.011)
            assert at["y"] - at["height"] / 2 == pytest.approx(box.y1, abs=0.011)
            assert at["y"] + at["height"] / 2 == pytest.approx(box.y2, abs=0.011)


BOX = {"label": "x", "coordinates": {"x": 3, "y": 4, "width": 4, "height": 2}}


@pytest.mark.parametrize("bad", [None, {}, {"label": "x"}, {**BOX, "coordinates": {"x": 3}}])
def test_a_bad_annotation_harms_no_other(bad: Any) -> None:
    entries = [
        {"image": "a.png", "annotations": [bad, BOX]},
        {"image": "b.png", "annotations": bad},
        {"imagefilename": "c.png", "annotation": [BOX]},
    ]
    faults: list[str] = []
    first, last = read(entries, faults.append)
    assert faults == ["b.png: its annotations are no list"]
    assert (first.name, last.name) == ("a.png", "c.png")
    for image in (first, last):
        assert fit_to_image(image, (9, 9)).rows == [(1, 3, 5, 5, "x")]
    assert len(fit_to_image(first, (9, 9)).faults) == 1


def test_it_knows_its_own() -> None:
    assert recognizes([{"image": "a", "annotations": []}])
    assert recognizes([{"imagefilename": "a", "annotation": []}])
    assert not any(map(recognizes, ([], [{"image": "a"}], {}, [7])))
