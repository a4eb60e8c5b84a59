"""Labelled folders for other programs: complete, with the hold-out apart."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings

from ml_backend.dataset.folder import read_folder
from tasks.exchange.dataset_folders import write_folder
from tests.labelled import LABELS, SIZES, Row, are_close, make_labelled, marked, write


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
        assert are_close(read, written)


def test_what_is_held_out_stays_apart(tmp_path: Path, media: Path) -> None:
    truth: dict[str, list[Row]] = {name: [] for name in SIZES}
    write(tmp_path, "yolo", truth, media)
    write(tmp_path, "voc", truth, media)
    assert [p.name for p in (tmp_path / "yolo/images/val").iterdir()] == ["Ta_1.png"]
    assert len(list((tmp_path / "yolo/images/train").iterdir())) == 3
    assert (tmp_path / "voc/ImageSets/Main/val.txt").read_text() == "Ta_1\n"
    # Label Studio shows the TIFF as PNG, and that is what the boxes lie on.
    assert (tmp_path / "voc/JPEGImages/scan 4.png").exists()


def test_a_folder_that_fails_is_never_seen(tmp_path: Path, media: Path) -> None:
    with pytest.raises(KeyError), write_folder(tmp_path / "out", "yolo", LABELS.values) as add:
        add(make_labelled("Os/1.png", [], media))
        raise KeyError
    assert list(tmp_path.iterdir()) == []
