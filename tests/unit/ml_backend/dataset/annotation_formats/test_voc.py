"""Pascal VOC, written and read."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.dataset.annotation_formats.ground_truth import fit_to_image
from ml_backend.dataset.annotation_formats.records import Detected
from ml_backend.dataset.annotation_formats.voc import VocFolder, read, write
from tests.detections import HEIGHT, WIDTH, images, laws

OBJECT = (
    "<object><name>x</name><difficult>{}</difficult><bndbox><xmin>1</xmin><ymin>2</ymin>"
    "<xmax>{}</xmax><ymax>6</ymax></bndbox></object>"
)


@laws
@given(found=images())
def test_what_is_written_is_read(found: list[Detected]) -> None:
    for detected in found:
        image = read(ElementTree.fromstring(write("scan.png", detected)))
        assert (image.name, image.size) == ("scan.png", (WIDTH, HEIGHT))
        truth = fit_to_image(image, (WIDTH, HEIGHT))
        assert not truth.faults and not truth.ignored
        assert truth.rows == [
            (box.x1, box.y1, box.x2, box.y2, box.label.strip()) for box in detected.detections
        ]


@laws
@given(found=images())
def test_a_file_holds_the_numbers_of_its_boxes(found: list[Detected]) -> None:
    for detected in found:
        root = ElementTree.fromstring(write("scan.png", detected))
        boxes = [
            (
                *(float(node.findtext(f"bndbox/{s}") or "") for s in ("xmin", "ymin")),
                *(float(node.findtext(f"bndbox/{s}") or "") for s in ("xmax", "ymax")),
            )
            for node in root.findall("object")
        ]
        assert boxes == [(box.x1, box.y1, box.x2, box.y2) for box in detected.detections]


@pytest.mark.parametrize(("difficult", "ignored"), [("1", True), (" True", True), ("0", False)])
def test_difficult_boxes_are_ignored(difficult: str, ignored: bool) -> None:
    root = ElementTree.fromstring(f"<annotation>{OBJECT.format(difficult, 5)}</annotation>")
    truth = fit_to_image(read(root), (9, 9))
    assert (truth.ignored, truth.rows) == (
        ([(1, 2, 5, 6)], []) if ignored else ([], [(1, 2, 5, 6, "x")])
    )


@pytest.mark.parametrize("right", ["", "five", "0", "nan", "</xmax><xmax>"])
def test_a_bad_box_harms_no_other(right: str) -> None:
    objects = OBJECT.format(0, right) + OBJECT.format(0, 5) + "<object/>"
    truth = fit_to_image(
        read(ElementTree.fromstring(f"<annotation>{objects}</annotation>")), (9, 9)
    )
    assert truth.rows == [(1, 2, 5, 6, "x")] and len(truth.faults) == 2


def test_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match="its root is <kml>"):
        read(ElementTree.fromstring("<kml/>"))


@laws
@given(parts=st.lists(st.sampled_from(["train", "val", "buffer"]), max_size=6))
def test_in_a_folder_the_parts_are_listed_and_the_buffer_is_not(parts: list[str]) -> None:
    layout = VocFolder()
    for number, part in enumerate(parts):
        placed = layout.place(f"{number}.jpg", part, Detected("x", 9, 9, []))
        assert placed.image == f"JPEGImages/{number}.jpg"
        assert placed.annotations == f"Annotations/{number}.xml"
    files = layout.list_files()
    for part in ("train", "val"):
        stems = files.pop(f"ImageSets/Main/{part}.txt").split()
        assert stems == [str(n) for n, other in enumerate(parts) if other == part]
    assert not files
