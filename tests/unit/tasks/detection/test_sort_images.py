"""Sorting images by what they hold, with a detector that reads the truth off the pixels."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.dataset.annotation_formats.records import Detected, Detection
from tasks.detection.sort_images import (
    TABLE,
    ChoiceSorter,
    FolderRule,
    ObjectSorter,
    SortSummary,
    sort,
)
from tests.shades import Shades, paint
from tests.unit.tasks.detection.test_detect_files import DETECTOR, tile

STAGES = ("Prophase", "Metaphase", "Anaphase", "Telophase")
TETRADS = ("Tetrad", "Triad")


def run(source: Path, out: Path, *, by_class: bool = False, link: bool = False) -> SortSummary:
    sorter = ObjectSorter(DETECTOR, by_class)
    return sort(source, sorter, out, "v1", link=link, progress=lambda done, total: None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "tiles"
    tile(folder / "cell.png", 200)
    tile(folder / "deeper" / "cell.png", 201)
    tile(folder / "dark.png", 3)
    (folder / "broken.png").write_bytes(b"not an image")
    return folder


def files(out: Path) -> list[str]:
    return sorted(p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file())


@pytest.mark.parametrize("link", [False, True])
def test_every_image_lies_where_it_belongs(folder: Path, tmp_path: Path, link: bool) -> None:
    out = tmp_path / "sorted"
    result = run(folder, out, link=link)
    assert files(out) == [
        "Chromosomes/whole/cell.png",
        "Chromosomes/whole/deeper/cell.png",
        "Others/dark.png",
        TABLE,
    ]
    assert result["images"] == 3
    assert result["folders"] == {"Chromosomes/whole": 2, "Chromosomes/partial": 0, "Others": 1}
    assert [entry["source"] for entry in result["skipped"]] == ["broken.png"]
    for name, place in (("cell.png", "Chromosomes/whole"), ("dark.png", "Others")):
        assert (out / place / name).read_bytes() == (folder / name).read_bytes()
        assert (out / place / name).samefile(folder / name) == link


def test_the_table_says_where_each_image_went_and_why(folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path / "sorted", by_class=True)
    with (tmp_path / "sorted" / TABLE).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == ["cell.png", "dark.png", "deeper/cell.png"]
    assert [row["folders"] for row in rows] == [
        "Mitotic cell/whole",
        "Others",
        "Mitotic cell/whole",
    ]
    assert [row["Mitotic cell"] for row in rows] == ["1", "0", "1"]
    assert {row["Mitotic cell (partial)"] for row in rows} == {"0"}


def test_a_single_image_is_sorted_too(folder: Path, tmp_path: Path) -> None:
    run(folder / "deeper" / "cell.png", tmp_path / "sorted")
    assert files(tmp_path / "sorted") == ["Chromosomes/whole/cell.png", TABLE]


def test_nothing_is_written_over_or_left_half_done(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("precious")
    for out, words in ((tmp_path / "mine", "not an empty"), (folder / "sorted", "lies within")):
        with pytest.raises(ValueError, match=words):
            run(folder, out)
    (tmp_path / "none").mkdir()
    with pytest.raises(ValueError, match="holds no images"):
        run(tmp_path / "none", tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine", "none", "tiles"]


def found(*objects: tuple[str, bool]) -> Detected:
    boxes = [Detection(0, 0, 9, 9, label, 0.9, 0, partial) for label, partial in objects]
    return Detected("a.png", 99, 99, boxes)


def test_a_whole_object_outweighs_cut_ones() -> None:
    shelves = FolderRule(("Mitotic cell",))
    assert shelves.choose_folders(found(("Mitotic cell", True))) == ["Chromosomes/partial"]
    assert shelves.choose_folders(found(("Mitotic cell", True), ("Mitotic cell", False))) == [
        "Chromosomes/whole"
    ]
    assert shelves.choose_folders(found(("Other", False))) == ["Others"]


def test_stages_are_chromosomes_unless_asked_for_and_tetrads_never() -> None:
    detected = found(("Metaphase", False), ("Anaphase", True))
    assert FolderRule(STAGES).choose_folders(detected) == ["Chromosomes/whole"]
    assert FolderRule(STAGES, by_class=True).choose_folders(detected) == [
        "Anaphase/partial",
        "Metaphase/whole",
    ]
    assert FolderRule(TETRADS).choose_folders(found(("Triad", False))) == ["Triad/whole"]
    assert FolderRule(("a/b: c?", "..")).list_folders()[0] == "a_b_ c_/whole"


@given(
    st.lists(st.tuples(st.sampled_from([*STAGES, "Interphase"]), st.booleans()), max_size=6),
    st.booleans(),
)
def test_every_image_has_a_place_and_every_place_exists(
    objects: list[tuple[str, bool]], by_class: bool
) -> None:
    shelves = FolderRule(STAGES, by_class)
    places = shelves.choose_folders(found(*objects))
    assert places and set(places) <= set(shelves.list_folders())
    assert (places == ["Others"]) == all(label == "Interphase" for label, _ in objects)


def test_a_classifier_has_a_folder_for_each_class(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "sorted"
    result = sort(
        folder, ChoiceSorter(Shades()), out, "v1", link=False, progress=lambda done, total: None
    )
    assert files(out) == [
        "Chromosomes/cell.png",
        "Chromosomes/deeper/cell.png",
        "Others/dark.png",
        TABLE,
    ]
    assert result["folders"] == {"Chromosomes": 2, "Others": 1} and result["images"] == 3
    assert [entry["source"] for entry in result["skipped"]] == ["broken.png"]
    with (out / TABLE).open(encoding="utf-8", newline="") as file:
        rows = {row["image"]: row for row in csv.DictReader(file)}
    assert rows["cell.png"] == {
        "image": "cell.png", "folders": "Chromosomes",
        "Chromosomes": "0.7843", "Others": "0.2157",
    }  # fmt: skip


def test_where_several_may_be_chosen_none_may_be(tmp_path: Path) -> None:
    for name, shade in (("light", 200), ("dark", 10)):
        paint(tmp_path / "in" / f"{name}.png", shade)
    sorter = ChoiceSorter(Shades(several=True))
    sort(tmp_path / "in", sorter, tmp_path / "out", "v1", link=False, progress=lambda d, t: None)
    assert files(tmp_path / "out") == ["Chromosomes/light.png", "No class/dark.png", TABLE]


def test_of_a_stack_the_mean_over_its_planes_counts(tmp_path: Path) -> None:
    stack = np.stack([np.full((24, 32), shade, np.uint8) for shade in (255, 255, 0)])
    tifffile.imwrite(tmp_path / "stack.tif", stack, photometric="minisblack")
    sort(
        tmp_path / "stack.tif", ChoiceSorter(Shades()), tmp_path / "out", "v1",
        link=False, progress=lambda done, total: None,
    )  # fmt: skip
    assert files(tmp_path / "out") == ["Chromosomes/stack.tif", TABLE]
