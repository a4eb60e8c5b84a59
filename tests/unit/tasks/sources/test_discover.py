"""Which files make a scan, by their names; what names of microscopes say."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tasks.sources import filename_patterns
from tasks.sources.discover import discover_scans, list_image_files


@pytest.mark.parametrize(
    ("name", "row", "column", "plane", "channel"),
    [
        ("Image_XY01_00012_Z003_CH4.tif", None, None, 3, 4),  # Keyence
        ("TileScan 1_s03_z07_ch00.tif", None, None, 7, 0),  # Leica LAS X
        ("image--L0000--J15--X02--Y05--T0000--Z01--C03.ome.tif", 5, 2, 1, 3),  # Matrix Screener
        ("tile_r003_c012.png", 3, 12, None, None),
        ("slide2 row 4 col 11.jpg", 4, 11, None, None),
        ("tile_x07_y02_z1.tif", 2, 7, 1, None),
        ("tile10.png", None, None, None, None),
        ("AtCell1.png", None, None, None, None),
        ("mitosis_c3.png", None, None, None, None),
        ("brick7.png", None, None, None, None),
    ],
)
def test_what_usual_names_say(
    name: str, row: int | None, column: int | None, plane: int | None, channel: int | None
) -> None:
    said = filename_patterns.parse_name(name)
    assert said is not None
    assert (said.row, said.column, said.plane, said.channel) == (row, column, plane, channel)


def test_a_pattern_of_one_s_own() -> None:
    given = filename_patterns.compile_pattern("img_{row}-{column}_*p{plane}")
    said = filename_patterns.parse_name("img_03-11_day2 p5.tif", given)
    assert said is not None and (said.row, said.column, said.plane) == (3, 11, 5)
    assert filename_patterns.parse_name("thumbnail.tif", given) is None
    for wrong in ("tile*", "{row}", "{row}_{row}", "{line}_{column}", "{plane}_{row}"):
        with pytest.raises(ValueError, match="--pattern"):
            filename_patterns.compile_pattern(wrong)


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
    reasons = [one["reason"] for one in found.skipped]
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
    assert {one["source"]: one["reason"] for one in skipped} == {
        "locked": "the folder cannot be read: Permission denied",
        "out": "a link that leads out of the folder is not followed",
    }
    with pytest.raises(PermissionError):
        list_image_files(scan / "locked")
