"""YOLO, written and read."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.dataset.annotation_formats.ground_truth import fit_to_image
from ml_backend.dataset.annotation_formats.records import Detected
from ml_backend.dataset.annotation_formats.yolo import (
    YoloFolder,
    find_label_file,
    read,
    read_classes,
    write,
)
from tests.detections import HEIGHT, LABELS, WIDTH, images, laws

NUMBERS = {label: number for number, label in enumerate(LABELS)}
SIZE = (WIDTH, HEIGHT)


@laws
@given(found=images())
def test_what_is_written_is_read(found: list[Detected]) -> None:
    for detected in found:
        lines = write(detected, NUMBERS).splitlines()
        truth = fit_to_image(read(lines, dict(enumerate(LABELS)), SIZE), SIZE)
        assert not truth.faults
        for row, box in zip(truth.rows, detected.detections, strict=True):
            assert row[4] == box.label.strip()
            assert row[:4] == pytest.approx((box.x1, box.y1, box.x2, box.y2), abs=1e-9)


@laws
@given(found=images())
def test_a_line_is_class_centre_and_size_in_shares_of_the_image(found: list[Detected]) -> None:
    for detected in found:
        lines = write(detected, NUMBERS).splitlines()
        for line, box in zip(lines, detected.detections, strict=True):
            number, x, y, width, height = map(float, line.split())
            assert LABELS[int(number)] == box.label
            assert x * WIDTH == pytest.approx((box.x1 + box.x2) / 2)
            assert y * HEIGHT == pytest.approx((box.y1 + box.y2) / 2)
            assert width * WIDTH == pytest.approx(box.x2 - box.x1)
            assert height * HEIGHT == pytest.approx(box.y2 - box.y1)


corners = st.tuples(st.integers(0, 8), st.integers(0, 8))


@laws
@given(outline=st.lists(corners, min_size=3, max_size=6))
def test_a_polygon_is_read_as_the_box_around_it(outline: list[tuple[int, int]]) -> None:
    line = " ".join(["0", *(str(part / 8) for point in outline for part in point)])
    truth = fit_to_image(read([line], {0: "x"}, (8, 8)), (8, 8))
    xs, ys = zip(*outline, strict=True)
    frame = (min(xs), min(ys), max(xs), max(ys))
    if frame[0] < frame[2] and frame[1] < frame[3]:
        assert truth.rows == [(*frame, "x")]
    else:
        assert truth.faults == ["its size is zero"]


@pytest.mark.parametrize("bad", ["not", "0 1 2", "5 .5 .5 1 1", "0 .5 .5 -1 1", "0 .5 y 1 1"])
def test_a_bad_line_harms_no_other(bad: str) -> None:
    truth = fit_to_image(read([bad, "", "0 0.5 0.5 1 1"], {0: "x"}, (8, 8)), (8, 8))
    assert truth.rows == [(0, 0, 8, 8, "x")] and len(truth.faults) == 1


@pytest.mark.parametrize("names", [["a", "b"], {0: "a", 1: "b"}])
def test_classes_are_a_list_or_a_table(names: object) -> None:
    assert read_classes({"names": names}) == {0: "a", 1: "b"}


@pytest.mark.parametrize("data", [{}, None, {"names": 3}, []])
def test_a_file_without_classes_is_refused(data: object) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        read_classes(data)


def test_the_last_folder_of_images_becomes_labels() -> None:
    assert find_label_file(Path("images/a/images/b/1.png")) == Path("images/a/labels/b/1.txt")
    assert find_label_file(Path("a/1.png")) == Path("a/1.txt")


@laws
@given(parts=st.lists(st.sampled_from(["train", "val", "buffer"]), max_size=6))
def test_a_folder_can_be_trained_on_whatever_was_held_out(parts: list[str]) -> None:
    layout = YoloFolder(LABELS)
    for number, part in enumerate(parts):
        placed = layout.place(f"{number}.jpg", part, Detected("x", 9, 9, []))
        assert placed.image == f"images/{part}/{number}.jpg"
        assert find_label_file(Path(placed.image)) == Path(placed.annotations)
    (text,) = layout.list_files().values()
    data = yaml.safe_load(text)
    assert read_classes(data) == dict(enumerate(LABELS))
    for key in {"train", "val"} & set(parts):
        assert data[key] == f"images/{key}"
        assert {data["train"], data["val"]} <= {f"images/{part}" for part in parts}
