"""Annotation files that were written for other programs are read as they were meant."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings

from ml_backend.dataset.annotation_formats.formats import FOLDERS
from tasks.exchange.annotation_files import (
    TaskImages,
    find_annotation_files,
    read_annotation_files,
)
from tests.labelled import FILES, Row, are_close, marked, write


@pytest.mark.parametrize("form", [*FILES, *FOLDERS])
@settings(max_examples=15, deadline=None)
@given(truth=marked)
def test_what_is_exported_is_read_again(
    form: str, truth: dict[str, list[Row]], media: Path, images: TaskImages
) -> None:
    reported: list[str] = []
    with tempfile.TemporaryDirectory() as out:
        files = find_annotation_files(write(Path(out), form, truth, media))
        found = list(
            read_annotation_files(files, images, lambda file, reason: reported.append(reason))
        )
    if form == ".geojson" and not any(truth.values()):
        # It has no place for images without a box, and then says nothing of any image.
        assert reported == ["no image of the project is called out"]
        return
    assert reported == []
    read = {image.as_posix(): marks for image, _, marks in found}
    if form == ".geojson":
        truth = {name: boxes for name, boxes in truth.items() if boxes}
    assert read.keys() == truth.keys() and len(found) == len(read)
    for name, boxes in truth.items():
        assert are_close(read[name].rows, boxes)


def test_what_cannot_be_used_is_reported(tmp_path: Path, images: TaskImages) -> None:
    reported: list[tuple[str, str]] = []
    (tmp_path / "stray.json").write_text("{}")
    (tmp_path / "broken.geojson").write_text('{"features": 7}')
    (tmp_path / "elsewhere.xml").write_text("<annotation><filename>no.png</filename></annotation>")
    (tmp_path / "1.xml").write_text("<kml/>")
    (tmp_path / "data.yaml").write_text("train: images")
    ring = [[1, 1], [9, 1], [9, 9], [1, 9], [1, 1]]
    (tmp_path / "scan 4.geojson").write_text(
        json.dumps(
            [
                {
                    "type": "Feature",
                    "geometry": {"type": "Polygon", "coordinates": [ring]},
                    "properties": {"classification": {"name": name}} if name else {},
                }
                for name in ("Chromosomes", "Tumour", "")
            ]
        )
    )
    found = list(
        read_annotation_files(
            find_annotation_files(tmp_path),
            images,
            lambda file, reason: reported.append((file.name, reason)),
        )
    )
    assert [name for name, _ in reported] == [
        *("1.xml", "broken.geojson", "data.yaml", "elsewhere.xml", "stray.json"),
    ]
    ((image, _, truth),) = found
    assert image.as_posix() == "scan 4.tif"
    assert len(truth.rows) + len(truth.faults) == truth.total == 3


def test_a_folder_without_annotations_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file.txt").touch()
    with pytest.raises(ValueError, match="no annotations there"):
        find_annotation_files(tmp_path)
    with pytest.raises(FileNotFoundError):
        find_annotation_files(tmp_path / "none")
