"""Annotations written for other programs and read again are the same annotations."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ml_backend.dataset.annotation_formats.formats import FOLDERS
from ml_backend.dataset.annotation_formats.records import Detected, Detection
from ml_backend.dataset.folder import read_folder
from ml_backend.label_studio.image_source import ImageSource
from ml_backend.label_studio.labeling_config import LabelingConfig
from tasks.exchange.annotation_files import (
    TaskImages,
    find_annotation_files,
    read_annotation_files,
)
from tasks.exchange.dataset_folders import Labelled, write_folder
from tasks.exchange.detection_files import open_writer
from tasks.exchange.export_project import check
from tasks.exchange.import_project import describe_problems, is_same, to_regions

LABELS = LabelingConfig.parse(
    '<View><Image name="i" value="$image"/><RectangleLabels name="l" toName="i">'
    '<Label value="Mitotic cell"/><Label value="Zelle, &quot;groß&quot;"/></RectangleLabels></View>'
)
FILES = (".coco.json", ".createml.json", ".geojson")
# Names that one file system or another does not tell apart; the last is shown as PNG.
SIZES = {"Os/1.png": (60, 40), "Ta/1.png": (90, 70), "TA/1.png": (30, 50), "scan 4.tif": (64, 64)}

Row = tuple[float, float, float, float, str]


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("media")
    for number, size in enumerate(SIZES.values()):
        Image.new("L", size, 30).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def images(media: Path) -> TaskImages:
    """Of a project whose tasks show them."""
    tasks: dict[int, dict[str, Any]] = {
        number: {"data": {"image": f"/data/local-files/?d={number}.png", "source": name}}
        for number, name in enumerate(SIZES)
    }
    source = ImageSource("http://127.0.0.1:1", "none", media=media)
    return TaskImages(tasks, LABELS, source, media / "kept")


@st.composite
def rows(draw: st.DrawFn, size: tuple[int, int]) -> Row:
    def side(length: int) -> tuple[float, float]:
        start = draw(st.integers(0, 100 * length - 100))
        return start / 100, draw(st.integers(start + 100, 100 * length)) / 100

    (x1, x2), (y1, y2) = side(size[0]), side(size[1])
    return x1, y1, x2, y2, draw(st.sampled_from(LABELS.values))


# Every image, some with nothing on them.
marked = st.fixed_dictionaries({name: st.lists(rows(SIZES[name]), max_size=3) for name in SIZES})


def labelled(name: str, boxes: list[Row], media: Path) -> Labelled:
    detections = [Detection(*row, 1.0, 0, False) for row in boxes]
    number = list(SIZES).index(name)
    detected = Detected(name, *SIZES[name], detections, by_hand=True)
    return Labelled(
        number, detected, media / f"{number}.png", "holdout" if number == 1 else "train"
    )


def write(out: Path, form: str, truth: dict[str, list[Row]], media: Path) -> Path:
    if form in FILES:
        with open_writer(out / f"out{form}") as add:
            for name, boxes in truth.items():
                add(labelled(name, boxes, media).detected)
    else:
        with write_folder(out / form, form, LABELS.values) as put:
            for name, boxes in truth.items():
                put(labelled(name, boxes, media))
    return out


def close(a: list[Row], b: list[Row]) -> bool:
    return len(a) == len(b) and all(
        left[4] == right[4] and left[:4] == pytest.approx(right[:4], abs=0.011)
        for left, right in zip(a, b, strict=True)
    )


@pytest.mark.parametrize("form", [*FILES, *FOLDERS])
@settings(max_examples=15, deadline=None)
@given(truth=marked)
def test_what_is_exported_is_imported(
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
        assert close(read[name].rows, boxes)
        assert not describe_problems(read[name], LABELS)
        again = to_regions(read[name], LABELS)
        assert is_same(again, again, LABELS)
        assert is_same(again, [], LABELS) == (not boxes)


@pytest.mark.parametrize("form", ["yolo", "voc"])
@settings(max_examples=15, deadline=None)
@given(truth=marked)
def test_an_exported_folder_is_a_labelled_folder(
    form: str, truth: dict[str, list[Row]], media: Path
) -> None:
    with tempfile.TemporaryDirectory() as out:
        write(Path(out), form, truth, media)
        found = read_folder(Path(out) / form)
    assert found.skipped == []
    boxes = sorted(
        sorted((*row[:4], row[4]) for row in example.boxes.to_rows())
        for example in found.examples
        if example.boxes is not None
    )
    assert len(boxes) == len(SIZES)
    for read, written in zip(boxes, sorted(map(sorted, truth.values())), strict=True):
        assert close(read, written)


def test_what_is_held_out_stays_apart(tmp_path: Path, media: Path) -> None:
    truth: dict[str, list[Row]] = {name: [] for name in SIZES}
    write(tmp_path, "yolo", truth, media)
    write(tmp_path, "voc", truth, media)
    assert [p.name for p in (tmp_path / "yolo/images/val").iterdir()] == ["Ta_1.png"]
    assert len(list((tmp_path / "yolo/images/train").iterdir())) == 3
    assert (tmp_path / "voc/ImageSets/Main/val.txt").read_text() == "Ta_1\n"
    # Label Studio shows the TIFF as PNG, and that is what the boxes lie on.
    assert (tmp_path / "voc/JPEGImages/scan 4.png").exists()


def test_a_person_has_no_confidence(tmp_path: Path, media: Path) -> None:
    truth: dict[str, list[Row]] = {"Os/1.png": [(1, 2, 9, 9, "Mitotic cell")]}
    for form in FILES:
        write(tmp_path, form, truth, media)
    text = "".join((tmp_path / f"out{form}").read_text() for form in FILES)
    assert "confidence" not in text and "score" not in text and "partial" not in text
    (feature,) = json.loads((tmp_path / "out.geojson").read_text())["features"]
    assert feature["properties"]["objectType"] == "annotation"


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
    ((image, _, marks),) = found
    assert image.as_posix() == "scan 4.tif"
    assert describe_problems(marks, LABELS) == [
        "1 of 3 boxes, the first because it has no label",
        "1 box called Tumour: the project has no such label",
    ]
    (region,) = to_regions(marks, LABELS)
    assert region["value"]["rectanglelabels"] == ["Mitotic cell"] and "score" not in region


def test_what_to_write_is_checked_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="yolo, voc, geojson"):
        check(tmp_path / "out", "coco")
    with pytest.raises(FileExistsError, match="not an empty folder"):
        check(tmp_path, "voc")
    with pytest.raises(ValueError, match="geojson"):
        check(tmp_path / "out", None)
    with pytest.raises(ValueError, match="no annotations there"):
        find_annotation_files(tmp_path)
