"""Which files make a scan, by their names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tasks.sources import filename_patterns
from tasks.sources.discover import discover_scans, list_image_files


def files(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def test_tiles_of_one_name_are_one_scan_and_others_are_not(tmp_path: Path) -> None:
    grid = [f"slideA/r{row}_c{column}.tif" for row in (1, 2) for column in (1, 2, 3)]
    stack = [f"fields/Image_00001_Z00{z}.tif" for z in (1, 2, 3)]
    files(tmp_path, *grid, *stack, "fields/Image_00002_Z001.tif", "overview.png", "notes.txt")
    found = discover_scans(tmp_path)
    assert [(g.name, g.placed, len(g.tiles)) for g in found.groups] == [
        ("fields/Image_00001_Z001.tif", False, 1),
        ("fields/Image_00002_Z001.tif", False, 1),
        ("overview.png", False, 1),
        ("slideA", True, 6),
    ]
    assert [file.plane for file in found.groups[0].tiles[0].files] == [1, 2, 3]
    assert [(s.row, s.column) for s in found.groups[3].tiles][-1] == (1, 2)
    assert [(g.number, g.of) for g in found.groups[:2]] == [(0, 2), (1, 2)]


def test_two_scans_of_one_folder_have_two_names(tmp_path: Path) -> None:
    names = [f"{day}_r{r}_c1.png" for day in ("monday", "tuesday") for r in (1, 2)]
    found = discover_scans(files(tmp_path, *names))
    assert [group.name for group in found.groups] == ["monday", "tuesday"]


def test_numbers_that_are_px_or_dates_are_no_grid(tmp_path: Path) -> None:
    found = discover_scans(files(tmp_path, "x0_y0.png", "x960_y0.png", "x0_y720.png"))
    assert [group.placed for group in found.groups] == [False] * 3


def test_names_that_repeat_and_names_that_do_not_fit_are_listed(tmp_path: Path) -> None:
    files(tmp_path, "r1_c1.png", "r01_c1.png", "r1_c2.png", "cover.png")
    found = discover_scans(tmp_path, filename_patterns.compile_pattern("r{row}_c{column}"))
    assert len(found.groups) == 1 and len(found.groups[0].tiles) == 2
    reasons = [entry["reason"] for entry in found.skipped]
    assert sorted(reasons) == [
        "its name does not fit --pattern",
        "the same row, column and plane as r01_c1.png",
    ] or sorted(reasons) == [
        "its name does not fit --pattern",
        "the same row, column and plane as r1_c1.png",
    ]


def test_folders_that_are_not_looked_into_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan, elsewhere = tmp_path / "scan", tmp_path / "elsewhere"
    for folder in (scan / "day 1", scan / "locked", elsewhere):
        folder.mkdir(parents=True)
        (folder / "a.png").touch()
    try:
        (scan / "out").symlink_to(elsewhere, target_is_directory=True)
        (scan / "in").symlink_to(scan / "day 1", target_is_directory=True)
    except OSError:
        pytest.skip("this system lets nobody make links")
    listed = os.scandir

    def locked(path: str) -> Any:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", locked)  # root may read everything
    paths, skipped = list_image_files(scan)
    assert paths == [scan / "day 1" / "a.png"]
    assert {entry["source"]: entry["reason"] for entry in skipped} == {
        "locked": "the folder cannot be read: Permission denied",
        "out": "a link that leads out of the folder is not followed",
    }
    with pytest.raises(PermissionError):
        list_image_files(scan / "locked")
