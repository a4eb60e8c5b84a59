"""What the images of a folder are called, as a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.detection.classify_files import classify
from tasks.exchange.choice_files import read_choices
from tests.shades import Shades, paint


@pytest.mark.parametrize("name", ["found.csv", "found.json"])
def test_every_image_has_a_row_and_bad_ones_are_listed(tmp_path: Path, name: str) -> None:
    for image, shade in (("a10.png", 204), ("a2.png", 51), ("deep/a1.png", 255)):
        paint(tmp_path / "images" / image, shade)
    (tmp_path / "images" / "broken.png").write_bytes(b"no image")
    seen: list[tuple[float, float]] = []
    summary = classify(
        tmp_path / "images", Shades(), tmp_path / name, "v1", lambda *at: seen.append(at)
    )
    assert summary["images"] == 3 and summary["classes"] == {"Chromosomes": 2, "Others": 1}
    assert [entry["source"] for entry in summary["skipped"]] == ["broken.png"]
    assert seen[-1] == (4, 4) and summary["model"] == "v1"
    rows = [(row.source, row.chosen, row.confidence) for row in read_choices(tmp_path / name)]
    assert rows == [
        ("a2.png", ("Others",), 0.8),
        ("a10.png", ("Chromosomes",), 0.8),
        ("deep/a1.png", ("Chromosomes",), 1.0),
    ]


def test_tiles_of_a_grid_are_images_by_themselves(tmp_path: Path) -> None:
    for column in range(3):
        paint(tmp_path / "images" / f"scan_r0_c{column}.png", 200)
    out = tmp_path / "found.csv"
    assert classify(tmp_path / "images", Shades(), out, "v1", lambda *at: None)["images"] == 3


def test_formats_of_boxes_are_refused(tmp_path: Path) -> None:
    paint(tmp_path / "a.png", 9)
    for name in ("out.coco.json", "out.geojson", "out.createml.json"):
        with pytest.raises(ValueError, match="draws no boxes"):
            classify(tmp_path / "a.png", Shades(), tmp_path / name, "v1", lambda *at: None)
        assert not (tmp_path / name).exists()
