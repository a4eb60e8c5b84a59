"""Which cells a folder holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.stacks.cells import list_cells


def touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")


def test_a_folder_names_the_stage_of_the_stacks_in_it(tmp_path: Path) -> None:
    for name in (
        "Anaphase/a.tif",
        "Prophase/a.tif",
        "b.ome.zarr/0/c.tif",
        ".hidden/d.tif",
        "e.txt",
    ):
        touch(tmp_path / name)
    cells, skipped = list_cells(tmp_path)
    assert [(cell.name, cell.label) for cell in cells] == [
        ("Anaphase-a", "Anaphase"),
        ("Prophase-a", "Prophase"),
        ("b.ome", ""),
    ]
    assert skipped == [] and all(cell.centre is None for cell in cells)


def test_a_table_names_places_and_bad_rows_harm_no_others(tmp_path: Path) -> None:
    touch(tmp_path / "s.tif")
    (tmp_path / "cells.csv").write_text(
        "stack,z,y,x,label,sample\ns.tif,3,4.5,6,Anaphase,p1\ns.tif,,,,,\ngone.tif,1,1,1,,\n"
        "s.tif,1,two,3,,\n",
        encoding="utf-8",
    )
    (first, whole), skipped = list_cells(tmp_path)
    assert (first.centre, first.label, first.sample) == ((3.0, 4.5, 6.0), "Anaphase", "p1")
    assert (whole.centre, whole.sample, whole.name) == (None, "s.tif", "s-2")
    assert [row["source"] for row in skipped] == ["cells.csv, row 3", "cells.csv, row 4"]
    assert "no stack gone.tif" in skipped[0]["reason"] and "no number" in skipped[1]["reason"]


def test_a_folder_without_cells_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no cell"):
        list_cells(tmp_path)
    with pytest.raises(ValueError, match="is not a folder"):
        list_cells(tmp_path / "gone")
