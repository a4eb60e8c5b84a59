"""A report: its page, its tables and its pictures, of images and a file of detections."""

from __future__ import annotations

import base64
import csv
import json
import re
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from ml_backend.dataset.annotation_formats.records import Detected, Detection
from tasks.exchange.detection_files import open_writer
from tasks.reports.detections_source import read_detections_file
from tasks.reports.report import write_report
from tasks.sources.scan_source import SourceOptions

CELL = "Mitotic cell"


def test_the_report_is_one_page_with_its_files(tmp_path: Path) -> None:
    """A dark image with one bright square, which is what was detected."""
    pixels = np.zeros((3000, 2000), np.uint8)
    pixels[2300:2340, 1100:1140] = 255
    (tmp_path / "images").mkdir()
    Image.fromarray(pixels).save(tmp_path / "images" / "slide <1>.png")
    (tmp_path / "images" / "gone.png").write_bytes(b"")
    found = [Detection(1100, 2300, 1140, 2340, CELL, 0.75, 0, False)]
    with open_writer(tmp_path / "found.coco.json") as add:
        add(Detected("slide <1>.png", 2000, 3000, found))
        add(Detected("gone.png", 90, 90, found))
    source = read_detections_file(tmp_path / "found.coco.json", tmp_path / "images")
    out = tmp_path / "report"
    (out / "pictures").mkdir(parents=True)
    (out / "pictures" / "contact-Tetrad-1.jpg").touch()  # of an earlier report
    result = write_report(source, out, lambda done, total: None)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert [entry["source"] for entry in result["skipped"]] == ["gone.png"]
    assert result["why_no_index"] == "the labels have no class of interphase nuclei to divide by"

    text = (out / "report.html").read_text(encoding="utf-8")
    assert "slide &lt;1&gt;.png" in text and "slide <1>" not in text
    assert all(url.startswith("data:image/jpeg") for url in re.findall(r'src="([^"]{20})', text))
    assert "http" not in text
    with (out / "objects.csv").open(encoding="utf-8", newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["image"], first["x1"], first["confidence"]) == ("slide <1>.png", "1100.0", "0.75")
    with (out / "counts.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["scan"], row["detected"], row["reviewed"]) for row in rows] == [
        ("slide <1>.png", "1", "0"),
        ("gone.png", "1", "0"),
    ]
    assert sorted(p.name for p in (out / "pictures").iterdir()) == [
        "contact-Mitotic cell-1.jpg",
        "overview-slide _1_.png",
    ]
    with Image.open(out / "pictures" / "overview-slide _1_.png") as picture:
        shown = np.asarray(picture)
    scale = 1400 / 3000
    left = (shown.shape[1] - round(2000 * scale)) // 2
    assert shown[round(2320 * scale), left + round(1120 * scale)].min() > 200
    (thumb,) = read_thumbnails(text)
    assert thumb[60:84, 60:84].min() > 200 and thumb[:15].max() < 60


def test_an_object_over_the_seam_of_two_tiles_is_shown_whole(tmp_path: Path) -> None:
    scan = np.random.default_rng(5).integers(0, 90, (300, 600)).astype(np.uint8)
    scan[130:170, 280:320] = 255
    (tmp_path / "tiles").mkdir()
    for column in range(2):
        tile = Image.fromarray(scan[:, 300 * column : 300 * column + 300])
        tile.save(tmp_path / "tiles" / f"scan_r1_c{column + 1}.png")
    with open_writer(tmp_path / "found.coco.json") as add:
        cell = Detection(280, 130, 320, 170, CELL, 0.75, 0, False)
        add(Detected("tiles", 600, 300, [cell], 2))
    source = read_detections_file(
        tmp_path / "found.coco.json", tmp_path / "tiles", SourceOptions(tile_overlap=0)
    )
    assert [group.pixel_size for group in source.groups] == [None]
    told = SourceOptions(tile_overlap=0, pixel_size=0.25)
    (group,) = read_detections_file(tmp_path / "found.coco.json", tmp_path / "tiles", told).groups
    assert group.pixel_size == 0.25
    result = write_report(source, tmp_path / "report", lambda done, total: None)
    assert result["skipped"] == []
    (shown,) = read_thumbnails((tmp_path / "report" / "report.html").read_text(encoding="utf-8"))
    assert shown[60:84, 30:114].min() > 200 and shown[:15].max() < 200


def read_thumbnails(page: str) -> list[np.ndarray]:
    """The pictures of single objects on a page, as grey values."""
    sheet = page.split('class="sheet">')[1]
    found = [base64.b64decode(content) for content in re.findall(r'base64,([^"]+)"', sheet)]
    return [np.asarray(Image.open(BytesIO(content)).convert("L")) for content in found]
