"""Files of detections, written and read back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given

from ml_backend.dataset.annotation_formats.formats import FILES
from ml_backend.dataset.annotation_formats.records import Detected
from tasks.exchange.detection_files import open_writer, read_detections
from tests.detections import images, laws, write_text


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("written")


@pytest.mark.parametrize("form", FILES, ids=lambda form: form.ending)
@laws
@given(found=images())
def test_the_ending_decides_how_a_file_is_written_and_the_content_how_it_is_read(
    folder: Path, form, found: list[Detected]
) -> None:
    out = folder / f"out{form.ending}"
    with open_writer(out) as add:
        for detected in found:
            add(detected)
    with out.open(encoding="utf-8", newline="") as file:
        assert file.read() == write_text(form, found)
    if form.ending != ".csv":  # of the others the name does not matter
        out = out.rename(folder / "renamed.json")
    again = [detected for detected in read_detections(out) if detected.detections]
    boxes = [
        (detected.source, [replace(box, plane=0, partial=False) for box in detected.detections])
        for detected in again
    ]
    assert boxes == [
        (detected.source, [replace(box, plane=0, partial=False) for box in detected.detections])
        for detected in found
        if detected.detections
    ]


@pytest.mark.parametrize("ending", [*(form.ending for form in FILES), ".JSON"])
def test_a_run_that_fails_leaves_the_old_file(tmp_path: Path, ending: str) -> None:
    out = tmp_path / f"out{ending}"
    out.write_text("the last run's")
    with pytest.raises(KeyboardInterrupt), open_writer(out) as add:
        add(Detected("a", 1, 1, []))
        raise KeyboardInterrupt
    assert out.read_text() == "the last run's" and len(list(tmp_path.iterdir())) == 1


def test_another_ending_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\.geojson, a \.json or a \.csv"):
        open_writer(tmp_path / "out.xlsx")


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("a.json", "7", "it holds no list of detections"),
        ("a.json", '[{"a": 1}]', "it has no 'source'"),
        ("a.csv", "source,x1\n", "it has no column"),
        ("a.geojson", '{"type": "FeatureCollection", "features": [{}]}', "it has no 'source'"),
        (
            "a.json",
            '{"images": [], "categories": [], "annotations": [{"image_id": 3}]}',
            "1 boxes are of images that it does not list",
        ),
    ],
)
def test_a_file_of_something_else_is_refused(
    tmp_path: Path, name: str, text: str, fault: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match="is not a file that cytoloop detect wrote: " + fault):
        read_detections(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        read_detections(tmp_path / "gone.json")
