"""One image for each object, with a table that leads back to where it was cut out."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.dataset.folder import read_folder
from ml_backend.imaging.decode import decode
from ml_backend.imaging.tone import Tone, set_tone
from ml_backend.learners.detector.inference import Detector
from ml_backend.learners.model_file import ModelCard
from tasks.detection.crop_objects import (
    ContourCutter,
    CropSummary,
    DetectorCutter,
    MarkCutter,
    crop_objects,
    name_shelves,
)
from tests.blobs import Blobs
from tests.regions import CLASSES, paint


def write_spreads(folder: Path) -> dict[str, list[tuple[float, float, float, float, str]]]:
    """Two spreads in a folder each, called alike, with their boxes as COCO; one more is broken."""
    truth = {}
    content: dict[str, list[dict[str, object]]] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": i, "name": name} for i, name in enumerate(CLASSES)],
    }
    for number, name in enumerate(("a/spread.png", "b/spread.png")):
        (folder / name).parent.mkdir(parents=True)
        boxes = paint(folder / name, number).boxes
        assert boxes is not None
        truth[name] = [row[:5] for row in boxes.to_rows()]
        content["images"].append({"id": number, "file_name": name, "width": 320, "height": 100})
        content["annotations"] += [
            {
                "id": 10 * number + place,
                "image_id": number,
                "category_id": CLASSES.index(label),
                "bbox": [x1, y1, x2 - x1, y2 - y1],
            }
            for place, (x1, y1, x2, y2, label) in enumerate(truth[name])
        ]
    (folder / "coco.json").write_text(json.dumps(content), encoding="utf-8")
    (folder / "broken.png").write_bytes(b"no image")
    return truth


def read_table(out: Path) -> list[dict[str, str]]:
    with (out / "image_labels.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_marked_boxes_become_a_labelled_folder_of_images(tmp_path: Path) -> None:
    truth = write_spreads(tmp_path / "spreads")
    out = tmp_path / "out"
    summary = crop_objects(tmp_path / "spreads", MarkCutter(), out)
    assert (summary["images"], summary["crops"]) == (2, 12)
    assert [left["source"] for left in summary["skipped"]] == ["broken.png"]
    rows = read_table(out)
    for row in rows:
        corners = tuple(float(row[name]) for name in ("x1", "y1", "x2", "y2"))
        assert (*corners, row["image_label"]) in truth[row["source"]]
        assert decode(out / row["image"]).shape == (37, 37, 3)  # 1.08 · 34
    assert {Path(row["image"]).parent.as_posix() for row in rows} == {"a_spread", "b_spread"}
    made = read_folder(out)
    assert made.choices == tuple(sorted(CLASSES)) and not made.skipped
    assert {example.group for example in made.examples} == set(truth)


@given(st.lists(st.sampled_from(["a.png", "A.tif", "a.tif", "a_b.png", "a/b.png", "c/a.png"])))
def test_each_image_has_a_shelf_of_its_own(names: list[str]) -> None:
    images = [Path(name) for name in dict.fromkeys(names)]
    shelves = name_shelves(images)
    assert len({shelf.lower() for shelf in shelves}) == len(images)
    assert not any("/" in shelf for shelf in shelves)
    assert name_shelves([Path("x/1.png"), Path("y/2.png")]) == ["1", "2"]


def test_contours_say_where_and_not_what(tmp_path: Path) -> None:
    truth = write_spreads(tmp_path / "spreads")
    out = tmp_path / "out"
    source = tmp_path / "spreads" / "a" / "spread.png"
    summary = crop_objects(source, ContourCutter(), out, Tone())
    rows = read_table(out)
    assert summary["crops"] == len(rows) == 6 and not summary["skipped"]
    centres = sorted((float(row["x1"]) + float(row["x2"])) / 2 for row in rows)
    assert centres == pytest.approx(sorted((r[0] + r[2]) / 2 for r in truth["a/spread.png"]), abs=2)
    assert {(row["image_label"], row["called"], row["confidence"]) for row in rows} == {
        ("", "", "")
    }
    # The tone is that of the spread, not of each crop.
    x1, y1, x2, y2 = (int(float(rows[0][name])) for name in ("x1", "y1", "x2", "y2"))
    toned = set_tone(decode(source), Tone())[(y1 + y2) // 2, (x1 + x2) // 2]
    crop = decode(out / rows[0]["image"])
    assert np.abs(crop[len(crop) // 2, len(crop) // 2].astype(int) - toned).max() <= 40


def test_what_a_detector_calls_a_crop_is_no_truth(tmp_path: Path) -> None:
    write_spreads(tmp_path / "spreads")
    detector = Detector(ModelCard("n", ("Cell", "Other"), ("Cell",), 1.0, 0.5), Blobs())
    summary = crop_objects(tmp_path / "spreads", DetectorCutter(detector), tmp_path / "out")
    rows = read_table(tmp_path / "out")
    assert summary["crops"] == len(rows) > 6
    assert {(row["image_label"], row["called"]) for row in rows} == {("", "Cell")}
    assert all(0.5 <= float(row["confidence"]) <= 1 for row in rows)


def test_a_folder_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    def run(source: Path, out: Path) -> CropSummary:
        return crop_objects(source, MarkCutter(), out)

    write_spreads(tmp_path / "spreads")
    with pytest.raises(FileNotFoundError, match="no such file"):
        run(tmp_path / "none", tmp_path / "out")
    with pytest.raises(ValueError, match="lies within"):
        run(tmp_path / "spreads", tmp_path / "spreads" / "out")
    with pytest.raises(ValueError, match="not an image"):
        run(tmp_path / "spreads" / "coco.json", tmp_path / "out")
    assert not (tmp_path / "out").exists()
