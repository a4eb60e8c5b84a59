"""COCO, written and read."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from pycocotools.coco import COCO as IndependentReader

from ml_backend.dataset.annotation_formats.coco import COCO, read, recognizes
from ml_backend.dataset.annotation_formats.ground_truth import fit_to_image
from ml_backend.dataset.annotation_formats.records import Detected, to_detected
from tests.detections import HEIGHT, WIDTH, images, laws, read_text, write_text


@laws
@given(found=images())
def test_what_is_written_is_read(found: list[Detected]) -> None:
    assert list(map(to_detected, read_text(COCO, write_text(COCO, found)))) == found


@laws
@given(found=images(min_boxes=1, by_hand=True))
def test_boxes_of_a_person_stay_a_persons(found: list[Detected]) -> None:
    text = write_text(COCO, found)
    assert "score" not in text and "partial" not in text
    assert all(to_detected(image).by_hand for image in read_text(COCO, text))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("coco") / "out.coco.json"


@laws
@given(found=images())
def test_pycocotools_reads_the_same_boxes(file: Path, found: list[Detected]) -> None:
    file.write_text(write_text(COCO, found), encoding="utf-8")
    with contextlib.redirect_stdout(io.StringIO()):
        other = IndependentReader(str(file))
    sources = {entry["file_name"]: entry for entry in other.loadImgs(other.getImgIds())}
    assert sources.keys() == {detected.source for detected in found}
    for detected in found:
        entry = sources[detected.source]
        assert (entry["width"], entry["height"]) == (WIDTH, HEIGHT)
        boxes = other.loadAnns(other.getAnnIds(imgIds=entry["id"]))
        for box, detection in zip(boxes, detected.detections, strict=True):
            (category,) = other.loadCats(box["category_id"])
            assert category["name"] == detection.label
            x, y, width, height = box["bbox"]
            corners = (detection.x1, detection.y1, detection.x2, detection.y2)
            assert (x, y, x + width, y + height) == pytest.approx(corners, abs=0.011)
            assert (box["score"], box["plane"]) == (detection.confidence, detection.plane)


def content(*annotations: Any) -> dict[str, Any]:
    return {
        "images": [{"id": 1, "file_name": "a.png"}, {"id": 2}],
        "annotations": [
            {"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]},
            *annotations,
        ],
        "categories": [{"id": 1, "name": "x"}],
    }


@pytest.mark.parametrize(
    ("annotation", "report"),
    [
        ({"image_id": 7, "category_id": 1, "bbox": [1, 2, 3, 4]}, "1 boxes are of images that"),
        ({"category_id": 1, "bbox": [1, 2, 3, 4]}, "1 boxes are of images that"),
        (None, "1 boxes are of images that"),
        ({"image_id": 1, "category_id": 1}, "no 'bbox'"),
        ({"image_id": 1, "category_id": 1, "bbox": "?"}, "not a number in range"),
        ({"image_id": 1, "category_id": 8, "bbox": [1, 2, 3, 4]}, "no 8"),
        ({"image_id": 1, "category_id": 1, "bbox": [9, 9, -3, 4]}, "`xmax` must be greater"),
    ],
)
def test_a_bad_annotation_harms_no_other(annotation: Any, report: str) -> None:
    faults: list[str] = []
    (image,) = read(content(annotation), faults.append)
    truth = fit_to_image(image, (9, 9))
    assert truth.rows == [(1, 2, 4, 6, "x")]
    assert [report in fault for fault in faults + truth.faults].count(True) == 1
    assert "the image with the id 2 has no file_name" in faults


@pytest.mark.parametrize("key", ["iscrowd", "ignore"])
def test_crowds_are_ignored(key: str) -> None:
    crowd = {"image_id": 1, "category_id": 1, "bbox": [5, 5, 2, 2], key: 1}
    (image,) = read(content(crowd), lambda fault: None)
    assert fit_to_image(image, (9, 9)).ignored == [(5, 5, 7, 7)]


def test_what_a_truth_does_not_need_may_be_wrong() -> None:
    odd = {"image_id": 1, "category_id": 1, "bbox": [5, 5, 2, 2], "score": "high", "plane": []}
    (image,) = read(content(odd), lambda fault: None)
    assert len(fit_to_image(image, (9, 9)).rows) == 2
    with pytest.raises(ValueError, match="high"):
        to_detected(image)


def test_it_knows_its_own() -> None:
    assert recognizes(json.loads(write_text(COCO, [])))
    assert not any(map(recognizes, ({"images": []}, [], 7, {"type": "FeatureCollection"})))
