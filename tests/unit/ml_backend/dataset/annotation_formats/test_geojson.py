"""GeoJSON, written and read."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given

from ml_backend.dataset.annotation_formats.geojson import (
    GEOJSON,
    GeoJsonFolder,
    read,
    recognizes,
)
from ml_backend.dataset.annotation_formats.ground_truth import fit_to_image
from ml_backend.dataset.annotation_formats.records import Detected, to_detected
from tests.detections import images, laws, read_text, write_text


@laws
@given(found=images())
def test_what_is_written_is_read(found: list[Detected]) -> None:
    again = [image for image in read_text(GEOJSON, write_text(GEOJSON, found)) if image.entries]
    # It has no place for images without a box, nor for the size of an image.
    marked = [replace(detected, width=0, height=0) for detected in found if detected.detections]
    assert list(map(to_detected, again)) == marked


@laws
@given(found=images(min_boxes=1, by_hand=True))
def test_boxes_of_a_person_stay_a_persons(found: list[Detected]) -> None:
    text = write_text(GEOJSON, found)
    assert "confidence" not in text and "partial" not in text
    for image in read_text(GEOJSON, text):
        assert image.name is None or to_detected(image).by_hand


@laws
@given(found=images())
def test_a_feature_is_a_closed_rectangle_as_qupath_reads_it(found: list[Detected]) -> None:
    written = json.loads(write_text(GEOJSON, found))
    assert written["type"] == "FeatureCollection"
    every = [(detected.source, box) for detected in found for box in detected.detections]
    for feature, (source, box) in zip(written["features"], every, strict=True):
        assert feature["type"] == "Feature" and feature["geometry"]["type"] == "Polygon"
        (ring,) = feature["geometry"]["coordinates"]
        assert len(ring) == 5 and ring[0] == ring[-1]
        xs, ys = zip(*ring, strict=True)
        assert (min(xs), min(ys), max(xs), max(ys)) == (box.x1, box.y1, box.x2, box.y2)
        assert feature["geometry"]["plane"]["z"] == box.plane
        properties = feature["properties"]
        assert properties["objectType"] == "detection"
        assert properties["classification"]["name"] == box.label
        assert all(0 <= part <= 255 for part in properties["classification"]["color"])
        assert properties["measurements"] == {"confidence": box.confidence}
        assert (properties["source"], properties["partial"]) == (source, box.partial)


RING = [[1, 2], [5, 3], [4, 6], [1, 2]]


def feature(coordinates: Any, **properties: Any) -> dict[str, Any]:
    return {"geometry": {"coordinates": coordinates}, "properties": properties}


@pytest.mark.parametrize(
    ("coordinates", "frame"),
    [
        ([RING], (1, 2, 5, 6)),
        ([RING, [[2, 3], [3, 3], [3, 4]]], (1, 2, 5, 6)),
        ([[RING], [[[0, 7], [8, 8]]]], (0, 2, 8, 8)),
    ],
)
@pytest.mark.parametrize("named", ["x", {"name": "x"}])
def test_an_outline_is_read_as_the_box_around_it(
    coordinates: Any, frame: tuple[float, ...], named: Any
) -> None:
    content = feature(coordinates, classification=named)
    for shape in (content, [content], {"features": [content]}):
        (image,) = read(shape, pytest.fail)
        assert image.name is None
        assert fit_to_image(image, (9, 9)).rows == [(*frame, "x")]


@pytest.mark.parametrize("bad", [[], "line", [[]], [["a", "b"]], 7, None])
def test_a_bad_outline_harms_no_other(bad: Any) -> None:
    features = [feature(bad, classification="x"), feature([RING], classification="x"), 7]
    faults: list[str] = []
    (image,) = read(features, faults.append)
    truth = fit_to_image(image, (9, 9))
    assert truth.rows == [(1, 2, 5, 6, "x")] and len(truth.faults) == 1
    assert faults == ["1 features are no GeoJSON objects"]


def test_only_a_file_without_a_feature_is_about_an_image_without_a_box() -> None:
    (image,) = read({"type": "FeatureCollection", "features": []}, pytest.fail)
    assert image.name is None and not image.entries
    assert read([7, None], lambda fault: None) == []


def test_measurements_that_are_not_understood_make_no_box_a_persons() -> None:
    older = [{"name": "confidence", "value": 0.5}]
    content = feature([RING], classification="x", source="a", measurements=older)
    (image,) = read(content, pytest.fail)
    with pytest.raises(TypeError):
        to_detected(image)


@laws
@given(found=images(min_boxes=1))
def test_in_a_folder_each_image_has_a_file_beside_it(found: list[Detected]) -> None:
    layout = GeoJsonFolder()
    for number, detected in enumerate(found):
        placed = layout.place(f"{number}.png", "train", detected)
        assert (placed.image, placed.annotations) == (f"{number}.png", f"{number}.geojson")
        assert placed.text == write_text(GEOJSON, [detected])
    assert layout.list_files() == {}


def test_it_knows_its_own() -> None:
    assert recognizes({"type": "FeatureCollection"})
    assert not any(map(recognizes, ({}, [], {"type": "Feature"}, 7)))
