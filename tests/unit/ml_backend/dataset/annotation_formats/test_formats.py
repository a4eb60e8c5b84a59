"""The table of formats, and reading a file by it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from ml_backend.dataset.annotation_formats.formats import (
    FILES,
    choose_format,
    read_annotation_file,
)
from ml_backend.dataset.annotation_formats.labelled_folder import FolderImages
from ml_backend.dataset.annotation_formats.records import Detected, FileFormat
from tests.detections import HEIGHT, WIDTH, images, laws, write_text

ROOT = Path("/images")
SIZES = {ROOT / f"a/scan {n}.tif": (WIDTH, HEIGHT) for n in range(9)}
OF_PEOPLE = [form for form in FILES if form.annotation_suffix]


def read(file: Path) -> tuple[dict[str, list[Any]], list[str]]:
    """The boxes of each image by the image's name, and what is reported."""
    faults: list[str] = []
    index = FolderImages(ROOT, SIZES)
    found = list(read_annotation_file(file, index, lambda _, fault: faults.append(fault)))
    assert all(source == file for _, source, _ in found)
    truths = {image.name: truth.rows for image, _, truth in found}
    assert len(truths) == len(found)
    return truths, faults


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


@pytest.mark.parametrize("form", OF_PEOPLE, ids=lambda form: form.name)
@laws
@given(found=images(min_boxes=1))
def test_a_file_is_read_by_its_suffix_and_its_content(
    folder: Path, form: FileFormat, found: list[Detected]
) -> None:
    file = folder / f"scan 0{form.annotation_suffix}"
    file.write_text(write_text(form, found), encoding="utf-8")
    truths, faults = read(file)
    for detected in found:
        rows = truths.pop(Path(detected.source).name)
        for row, box in zip(rows, detected.detections, strict=True):
            assert row[4] == box.label.strip()
            assert row[:4] == pytest.approx((box.x1, box.y1, box.x2, box.y2), abs=0.011)
    if not found and form.name == "GeoJSON":
        # Of one image, by the name of the file.
        assert truths.pop("scan 0.tif") == [] and not faults
    elif not found and form.name == "Create ML":
        assert faults == ["neither COCO nor Create ML"]
    else:
        assert not faults
    assert not truths


def box(source: str | None) -> dict[str, Any]:
    ring = [[1, 2], [3, 2], [3, 4], [1, 4]]
    named = {"source": source} if source else {}
    return {
        "geometry": {"coordinates": [ring]},
        "properties": {"classification": {"name": "x"}, **named},
    }


def test_boxes_of_an_image_under_several_names_are_one_truth(folder: Path) -> None:
    file = folder / "scan 1.geojson"
    features = [box("a/scan 1.tif"), box("scan 2.tif"), box(None), box("gone.tif")]
    file.write_text(json.dumps(features))
    truths, faults = read(file)
    assert {name: len(rows) for name, rows in truths.items()} == {"scan 1.tif": 2, "scan 2.tif": 1}
    assert faults == ["no image gone.tif"]


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("a.json", "{", "not a JSON file: "),
        ("a.geojson", "{", "not a GeoJSON file: "),
        ("a.geojson", '{"features": 7}', "not a GeoJSON file: "),
        ("a.json", '{"type": "FeatureCollection"}', "neither COCO nor Create ML"),
        ("a.json", '{"images": 3, "annotations": 3, "categories": []}', "cannot be read as coco: "),
    ],
)
def test_what_is_no_annotation_file_is_reported(
    folder: Path, name: str, text: str, fault: str
) -> None:
    (folder / name).write_text(text)
    truths, (reported,) = read(folder / name)
    assert not truths and reported.startswith(fault)


def test_an_image_of_another_size_is_left_out_and_the_others_read(folder: Path) -> None:
    file = folder / "sizes.json"
    found = [Detected("scan 1.tif", 640, 480, []), Detected("scan 2.tif", WIDTH, HEIGHT, [])]
    file.write_text(write_text(choose_format(Path("x.coco.json")), found))
    truths, faults = read(file)
    assert truths == {"scan 2.tif": []}
    assert faults == [f"scan 1.tif: made for 640×480 px, the image has {WIDTH}×{HEIGHT}"]


def test_the_ending_chooses_the_format() -> None:
    for form in FILES:
        assert choose_format(Path(f"out{form.ending}")) is form
        assert choose_format(Path(f"OUT{form.ending.upper()}")) is form
    with pytest.raises(ValueError, match=r"\.geojson, a \.json or a \.csv"):
        choose_format(Path("out.xlsx"))
