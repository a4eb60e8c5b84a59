"""Images of a folder: which they are, their samples, their sides and their tasks."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from ml_backend.dataset.split import Assignment
from tasks.launcher.import_images import (
    FolderImage,
    ImportResult,
    assign_sides,
    brighten_dim,
    find_images,
    make_task_data,
)


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return folder


def test_sub_folders_are_samples_where_there_are_two_or_more(tmp_path: Path) -> None:
    found, _ = find_images(touch(tmp_path, "Os/1.png", "Ta/plate 2/3.TIF", "0.jpg"))
    assert [(image.name, image.sample) for image in found] == [
        ("0.jpg", ""),
        ("Os/1.png", "Os"),
        ("Ta/plate 2/3.TIF", "Ta"),
    ]


def test_one_sub_folder_is_no_sample_for_then_nothing_could_be_held_out(tmp_path: Path) -> None:
    found, _ = find_images(touch(tmp_path, "images/1.png", "images/2.png"))
    assert [image.sample for image in found] == ["", ""]


def test_hidden_and_other_files_are_passed_over(tmp_path: Path) -> None:
    touch(tmp_path, ".cache/1.png", ".hidden.png", "notes.txt", "boxes.csv", "2.webp")
    found, passed_over = find_images(tmp_path)
    assert [image.name for image in found] == ["2.webp"] and passed_over == []


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights on Windows")
def test_a_link_that_leads_out_is_told(tmp_path: Path) -> None:
    touch(tmp_path, "mine/1.png", "elsewhere/2.png")
    (tmp_path / "mine" / "more").symlink_to(tmp_path / "elsewhere")
    found, [(name, reason)] = find_images(tmp_path / "mine")
    assert [image.name for image in found] == ["1.png"]
    assert name == "more" and "not followed" in reason


def test_what_was_taken_in_is_told_in_a_sentence() -> None:
    assert ImportResult(1, 0, 0, ()).describe() == "1 image imported."
    assert ImportResult(0, 5, 0, ()).describe() == "0 images imported, 5 there already."
    assert (
        "3 there already, 2 left out because the same file" in ImportResult(4, 3, 2, ()).describe()
    )


def name_images(*names: str) -> list[FolderImage]:
    return [FolderImage(Path(name), name, name.split("/")[0]) for name in names]


def test_a_group_stays_on_the_side_that_the_project_has_it_on() -> None:
    for side in ("train", "holdout"):
        held = {"split": side, "sampling_p": 0.25, "sampling_reason": "as it was"}
        tasks = [{"data": {"image": "/1.png", "sample": "Os", **held}}]
        sides = assign_sides(name_images("Os/2.png", "Ta/1.png"), tasks, "image", 0.2)
        assert sides["sample:Os"] == Assignment(side, 0.25, "as it was")


def test_a_new_project_has_both_sides_also_with_few_groups() -> None:
    for names in (("a/1", "b/1"), ("Os/1", "Os/2", "Ta/1", "Asa/1")):
        sides = assign_sides(name_images(*names), [], "image", 0.2)
        assert {side.side for side in sides.values()} == {"train", "holdout"}


def test_a_task_says_how_large_a_pixel_is_where_the_file_does(tmp_path: Path) -> None:
    for name, metadata in (("a.ome.tif", {"PhysicalSizeX": 0.25}), ("b.tif", None)):
        tifffile.imwrite(tmp_path / name, np.zeros((8, 8), np.uint8), metadata=metadata)
    with_size, without = (
        make_task_data(
            FolderImage(tmp_path / name, name, ""),
            digest="hash",
            address="/data/local-files/?d=1/x.png",
            image_key="image",
            side=Assignment("train", 0.8, ""),
            blind_share=0.3,
        )
        for name in ("a.ome.tif", "b.tif")
    )
    assert with_size["pixel_size"] == 0.25 and "pixel_size" not in without


def test_only_what_is_too_dim_to_be_judged_is_brightened() -> None:
    dim = np.random.default_rng(0).integers(0, 60, (40, 50, 3), np.uint8)
    brightened = brighten_dim(dim)
    assert brightened is not None and brightened.dtype == np.uint8
    assert np.percentile(brightened.max(axis=2), 99.9) >= 250
    order = np.argsort(dim.reshape(-1), kind="stable")
    assert (np.diff(brightened.reshape(-1)[order].astype(int)) >= 0).all()
    assert brighten_dim(np.full((40, 50, 3), 200, np.uint8)) is None
    assert brighten_dim(np.zeros((40, 50, 3), np.uint8)) is None
