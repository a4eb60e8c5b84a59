"""Reading a folder of images and annotations."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as et

import numpy as np
import pytest
import yaml  # type: ignore[import-untyped]
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from ml_backend.dataset.folder import Folder, read_folder, read_shown_size

SHARED = Path(__file__).parents[5] / "shared" / "data"
WIDTH, HEIGHT = 60, 40

Row = tuple[float, float, float, float, str]
TRUTH: dict[str, list[Row]] = {
    "a.png": [(1, 2, 20, 30, "Chromosomes"), (30.5, 0, 60, 40, "Others")],
    "b.png": [(5, 5, 6, 6, "Others")],
    "nothing here.png": [],
}


def write_image(path: Path, size: tuple[int, int] = (WIDTH, HEIGHT), **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size).save(path, **options)
    return path


def voc(rows: list[Row], *, difficult: int = 0, size: tuple[int, int] = (WIDTH, HEIGHT)) -> str:
    root = et.Element("annotation")
    et.SubElement(root, "filename").text = "ignored, the stem decides"
    sides = et.SubElement(root, "size")
    et.SubElement(sides, "width").text, et.SubElement(sides, "height").text = map(str, size)
    for *corners, label in rows:
        node = et.SubElement(root, "object")
        et.SubElement(node, "name").text = str(label)
        et.SubElement(node, "difficult").text = str(difficult)
        box = et.SubElement(node, "bndbox")
        for side, value in zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True):
            et.SubElement(box, side).text = repr(value)
    return et.tostring(root, encoding="unicode")


def write_voc(root: Path, truth: dict[str, list[Row]], place: str = "voc") -> None:
    (root / place).mkdir(parents=True, exist_ok=True)
    for name, rows in truth.items():
        (root / place / Path(name).with_suffix(".xml").name).write_text(voc(rows), "utf-8")


def write_coco(root: Path, truth: dict[str, list[Row]]) -> None:
    labels = sorted({row[4] for rows in truth.values() for row in rows})
    annotations = [
        {
            "image_id": number,
            "category_id": labels.index(label) + 7,
            "bbox": [x1, y1, x2 - x1, y2 - y1],
        }
        for number, rows in enumerate(truth.values())
        for x1, y1, x2, y2, label in rows
    ]
    content = {
        "images": [
            {"id": n, "file_name": f"images/{name}", "width": WIDTH, "height": HEIGHT}
            for n, name in enumerate(truth)
        ],
        "annotations": annotations,
        "categories": [{"id": n + 7, "name": label} for n, label in enumerate(labels)],
    }
    (root / "instances.json").write_text(json.dumps(content), "utf-8")


def write_yolo(root: Path, truth: dict[str, list[Row]]) -> None:
    labels = sorted({row[4] for rows in truth.values() for row in rows})
    (root / "data.yaml").write_text(yaml.safe_dump({"train": "images", "names": labels}), "utf-8")
    (root / "labels").mkdir(exist_ok=True)
    for name, rows in truth.items():
        lines = [
            f"{labels.index(label)} {(x1 + x2) / 2 / WIDTH!r} {(y1 + y2) / 2 / HEIGHT!r} "
            f"{(x2 - x1) / WIDTH!r} {(y2 - y1) / HEIGHT!r}"
            for x1, y1, x2, y2, label in rows
        ]
        (root / "labels" / Path(name).with_suffix(".txt")).write_text("\n".join(lines), "utf-8")


def write_create_ml(root: Path, truth: dict[str, list[Row]]) -> None:
    content = [
        {
            "image": name,
            "annotations": [
                {
                    "label": label,
                    "coordinates": {
                        "x": (x1 + x2) / 2,
                        "y": (y1 + y2) / 2,
                        "width": x2 - x1,
                        "height": y2 - y1,
                    },
                }
                for x1, y1, x2, y2, label in rows
            ],
        }
        for name, rows in truth.items()
    ]
    (root / "annotations.json").write_text(json.dumps(content), "utf-8")


WRITERS = [write_voc, write_coco, write_yolo, write_create_ml]


def read_truth(folder: Folder) -> dict[str, list[Row]]:
    return {
        example.image.name: [row[:5] for row in example.boxes.to_rows()]
        for example in folder.examples
        if example.boxes is not None
    }


def assert_same(read: dict[str, list[Row]], written: dict[str, list[Row]]) -> None:
    assert set(read) == set(written)
    for name, rows in written.items():
        assert [row[4] for row in read[name]] == [row[4] for row in rows]
        np.testing.assert_allclose(
            np.array([row[:4] for row in read[name]]).reshape(-1, 4),
            np.array([row[:4] for row in rows]).reshape(-1, 4),
            atol=1e-3,
        )


@pytest.mark.parametrize("write", WRITERS)
def test_the_same_truth_reads_equal_in_every_format(tmp_path: Path, write) -> None:
    for name in (*TRUTH, "unlabelled.png"):
        write_image(tmp_path / "images" / name)
    write(tmp_path, TRUTH)
    folder = read_folder(tmp_path)
    assert folder.skipped == []
    assert folder.classes == ("Chromosomes", "Others")
    assert_same(read_truth(folder), TRUTH)
    assert [e.image.name for e in folder.examples if e.boxes is None] == ["unlabelled.png"]


sides = st.tuples(st.integers(0, 4 * WIDTH - 1), st.integers(1, 4 * WIDTH)).filter(
    lambda pair: pair[0] < pair[1]
)
rows = st.lists(
    st.builds(
        lambda x, y, label: (x[0] / 4, y[0] / 6, x[1] / 4, y[1] / 6, label),
        sides,
        sides,
        st.sampled_from(["Chromosomes", "Others", "été", "RBC"]),
    ),
    max_size=5,
)


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(first=rows, second=rows)
def test_any_boxes_come_back_from_every_format(tmp_path_factory, first, second) -> None:
    truth = {"a.png": first, "b.png": second}
    for write in WRITERS:
        root = tmp_path_factory.mktemp("round")
        for name in truth:
            write_image(root / "images" / name)
        write(root, truth)
        folder = read_folder(root)
        assert folder.skipped == []
        assert_same(read_truth(folder), truth)


def test_checked_boxes_are_preferred_and_never_mixed_with_unchecked_ones(
    tmp_path: Path,
) -> None:
    for name in TRUTH:
        write_image(tmp_path / "images" / name)
    write_voc(tmp_path, {"a.png": [(0, 0, 9, 9, "checked")]}, "voc_checked")
    write_voc(tmp_path, TRUTH, "voc")
    assert_same(read_truth(read_folder(tmp_path)), {"a.png": [(0, 0, 9, 9, "checked")]})


@pytest.mark.parametrize("place", ["voc", "Annotations", "images"])
def test_voc_files_are_found_where_people_keep_them(tmp_path: Path, place: str) -> None:
    for name in TRUTH:
        write_image(tmp_path / "deep" / "images" / name)
    write_voc(tmp_path / "deep", TRUTH, place)
    folder = read_folder(tmp_path)
    assert_same(read_truth(folder), TRUTH)
    assert folder.skipped == []


def test_difficult_boxes_are_ignored_regions(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    (tmp_path / "a.xml").write_text(voc([(1, 2, 3, 4, "Others")], difficult=1), "utf-8")
    (example,) = read_folder(tmp_path).examples
    assert example.boxes is not None and len(example.boxes) == 0
    np.testing.assert_array_equal(example.ignored, [[1, 2, 3, 4]])


def test_crowds_in_coco_are_ignored_regions(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    content = {
        "images": [{"id": 1, "file_name": "a.png"}],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 2, 2], "iscrowd": 1}],
        "categories": [{"id": 1, "name": "Others"}],
    }
    (tmp_path / "coco.json").write_text(json.dumps(content), "utf-8")
    (example,) = read_folder(tmp_path).examples
    assert example.boxes is not None and len(example.boxes) == 0
    np.testing.assert_array_equal(example.ignored, [[1, 2, 3, 4]])


def test_image_labels_give_groups_and_the_truth_of_whole_images(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c.png", "sub/d.png"):
        write_image(tmp_path / name)
    (tmp_path / "image_labels.csv").write_text(
        "image,sample,image_label\na.png,S1,Chromosomes\nb.png,S1,Others\n"
        "sub/d.png,,\ngone.png,S9,Others\n",
        "utf-8",
    )
    folder = read_folder(tmp_path)
    assert [(e.group, e.image_label) for e in folder.examples] == [
        ("S1", True),
        ("S1", False),
        ("c.png", None),
        ("sub/d.png", None),
    ]
    assert folder.skipped == [("image_labels.csv", "no image gone.png")]


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_image_labels_as_spreadsheets_of_other_languages_save_them(
    tmp_path: Path, delimiter: str
) -> None:
    write_image(tmp_path / "a.png")
    rows = ["image", "sample", "image_label", "pixel_size"], ["a.png", "S, 1", "Others", "0,13"]
    (tmp_path / "image_labels.csv").write_text("\r\n".join(map(delimiter.join, rows)), "utf-8-sig")
    folder = read_folder(tmp_path)
    (example,) = folder.examples
    assert (example.group, example.image_label, example.pixel_size) == ("S, 1", False, 0.13)
    assert folder.skipped == []


def test_every_fault_is_listed_with_its_file_and_none_is_fatal(tmp_path: Path) -> None:
    for name in ("good", "broken", "other", "size", "boxes", "twin"):
        write_image(tmp_path / f"{name}.png")
    write_image(tmp_path / "twin.jpg")
    (tmp_path / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n and then nothing")
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "voc").mkdir()
    files = {
        "good": voc([(1, 1, 9, 9, "x")]),
        "broken": "<annotation><object>",
        "other": "<cells/>",
        "size": voc([(1, 1, 9, 9, "x")], size=(640, 480)),
        "boxes": voc(
            [
                (1, 1, 9, 9, "x"),
                (50, 30, 90, 90, "clipped"),
                (70, 1, 80, 9, "outside"),
                (5, 5, 5, 9, "thin"),
                (9, 9, 1, 1, "inside out"),
                (float("nan"), 1, 9, 9, "nan"),
                (1, 1, 9, 9, " "),
            ]
        ),
        "twin": voc([]),
        "no such image": voc([]),
    }
    for name, content in files.items():
        (tmp_path / "voc" / f"{name}.xml").write_text(content, "utf-8")
    (tmp_path / "bad.json").write_text("{", "utf-8")
    (tmp_path / "else.json").write_text('{"a": 1}', "utf-8")
    (tmp_path / "data.yaml").write_text("train: nowhere\nnames: [x]\n", "utf-8")

    folder = read_folder(tmp_path)
    assert_same(
        read_truth(folder),
        {
            "good.png": [(1, 1, 9, 9, "x")],
            "boxes.png": [(1, 1, 9, 9, "x"), (50, 30, 60, 40, "clipped")],
        },
    )
    reasons = dict(folder.skipped)
    assert set(reasons) == {
        "torn.png",
        "empty.jpg",
        "bad.json",
        "else.json",
        "data.yaml",
        *(f"voc/{name}.xml" for name in files if name != "good"),
    }
    assert "not an image" in reasons["torn.png"]
    assert "5 of 7 boxes left out" in reasons["voc/boxes.xml"]
    assert "outside the image" in reasons["voc/boxes.xml"]
    assert "640×480" in reasons["voc/size.xml"]
    assert "2 images with the stem twin" in reasons["voc/twin.xml"]
    assert "no image" in reasons["voc/no such image.xml"]


@pytest.mark.parametrize(
    "content",
    [
        {"images": [{"id": 1}], "annotations": [], "categories": []},
        {"images": [], "annotations": [{}], "categories": [{"id": 1, "name": "x"}]},
        {"images": 3, "annotations": None, "categories": []},
        {
            "images": [{"id": 1, "file_name": "a.png"}],
            "annotations": [
                {"image_id": 1, "category_id": 1},
                {"image_id": 1, "category_id": 2, "bbox": [1, 1, 2, 2]},
                {"image_id": 1, "category_id": 1, "bbox": "?"},
                {"image_id": 5, "category_id": 1, "bbox": [1, 1, 2, 2]},
            ],
            "categories": [{"id": 1, "name": "x"}],
        },
        [{"image": "a.png", "annotations": [{"label": "x"}, {"coordinates": 3}, None]}],
        [{"image": "a.png", "annotations": None}],
        [{"image": "b.png", "annotations": []}],
    ],
)
def test_json_of_the_wrong_shape_is_listed(tmp_path: Path, content: object) -> None:
    write_image(tmp_path / "a.png")
    (tmp_path / "marks.json").write_text(json.dumps(content), "utf-8")
    folder = read_folder(tmp_path)
    assert len(folder.examples) == 1
    assert {source for source, _ in folder.skipped} == {"marks.json"}


def test_an_image_marked_twice_keeps_the_first_and_says_so(tmp_path: Path) -> None:
    for name in TRUTH:
        write_image(tmp_path / "images" / name)
    write_voc(tmp_path, TRUTH)
    write_create_ml(tmp_path, {"a.png": [(0, 0, 1, 1, "later")]})
    folder = read_folder(tmp_path)
    assert_same(read_truth(folder), TRUTH)
    assert folder.skipped == [
        ("annotations.json", "a.png is annotated elsewhere too; that one is used")
    ]


def test_yolo_polygons_lists_and_splits(tmp_path: Path) -> None:
    for part in ("train", "valid"):
        for name in ("1.png", "2.png"):
            write_image(tmp_path / part / "images" / name)
    (tmp_path / "data.yaml").write_text(
        "train: ../train/images\nval: val.txt\nnames: {0: cell}\n", "utf-8"
    )
    (tmp_path / "val.txt").write_text("./valid/images/2.png\n", "utf-8")
    for part in ("train", "valid"):
        (tmp_path / part / "labels").mkdir()
    (tmp_path / "train/labels/1.txt").write_text("0 0.1 0.1 0.5 0.1 0.5 0.5\n\n", "utf-8")
    (tmp_path / "valid/labels/1.txt").write_text("0 0.5 0.5 0.1 0.1\n", "utf-8")
    (tmp_path / "valid/labels/2.txt").write_text("0 0.5 0.5 1 1\n3 0.5 0.5 1 1\nnot\n", "utf-8")
    folder = read_folder(tmp_path)
    boxes = {
        e.image.relative_to(tmp_path).as_posix(): None if e.boxes is None else e.boxes.to_rows()
        for e in folder.examples
    }
    assert boxes["train/images/1.png"] == [(6, 4, 30, 20, "cell", 1)]
    assert boxes["train/images/2.png"] is None  # no label file
    assert boxes["valid/images/1.png"] is None  # not listed
    assert boxes["valid/images/2.png"] == [(0, 0, WIDTH, HEIGHT, "cell", 1)]
    assert [source for source, _ in folder.skipped] == ["valid/labels/2.txt"]


def test_parts_that_a_yolo_file_names_in_vain_are_listed_and_the_others_read(
    tmp_path: Path,
) -> None:
    for name in ("1.png", "2.png"):
        write_image(tmp_path / "train" / "images" / name)
    (tmp_path / "data.yaml").write_text(
        "train: ../train/images\nval: ../valid/images\ntest: test.txt\nnames: [cell]\n", "utf-8"
    )
    (tmp_path / "test.txt").write_text("gone.png\ntrain/images/2.png\n", "utf-8-sig")
    (tmp_path / "train/labels").mkdir()
    for name in ("1.txt", "2.txt"):
        (tmp_path / "train/labels" / name).write_text("0 0.5 0.5 1 1\n", "utf-8-sig")
    folder = read_folder(tmp_path)
    assert [len(e.boxes or []) for e in folder.examples] == [1, 1]
    assert folder.skipped == [
        ("data.yaml", "../valid/images is neither a folder nor a list of images"),
        ("test.txt", "no image gone.png"),
    ]


@pytest.mark.parametrize("write", WRITERS)
def test_spellings_of_one_class_are_one(tmp_path: Path, write) -> None:
    truth: dict[str, list[Row]] = {
        "a.png": [(1, 2, 20, 30, "Mitotic cell"), (1, 2, 20, 30, "Others")],
        "b.png": [(5, 5, 9, 9, "mitotic_cell"), (5, 5, 9, 9, "OTHERS"), (5, 5, 8, 8, "OTHERS")],
        "c.png": [(5, 5, 9, 9, "Mitotic Cell"), (5, 5, 8, 8, "Mitotic cell")],
        "d.png": [(5, 5, 9, 9, "Other")],
    }
    for name in truth:
        write_image(tmp_path / "images" / name)
    write(tmp_path, truth)
    folder = read_folder(tmp_path)
    assert folder.skipped == []
    assert folder.classes == ("Mitotic cell", "OTHERS", "Other")
    labels = [row[4] for e in folder.examples if e.boxes for row in e.boxes.to_rows()]
    assert Counter(labels) == {"Mitotic cell": 4, "OTHERS": 3, "Other": 1}


def test_hidden_and_annotation_folders_hold_no_images(tmp_path: Path) -> None:
    write_image(tmp_path / "a.PNG", format="PNG")
    for hidden in (".thumbs/b.png", "voc/c.png", "SegmentationClass/d.png", ".e.png"):
        write_image(tmp_path / hidden)
    assert [e.image.name for e in read_folder(tmp_path).examples] == ["a.PNG"]


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights on Windows")
def test_a_linked_folder_is_told(tmp_path: Path) -> None:
    write_image(tmp_path / "mine" / "a.png")
    write_image(tmp_path / "elsewhere" / "b.png")
    (tmp_path / "mine" / "more").symlink_to(tmp_path / "elsewhere")
    folder = read_folder(tmp_path / "mine")
    assert [e.image.name for e in folder.examples] == ["a.png"]
    assert folder.skipped == [("more", "a link to a folder is not followed")]


def test_sizes_are_those_of_the_image_as_shown(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert read_shown_size(write_image(tmp_path / "turned.jpg", exif=exif)) == (
        HEIGHT,
        WIDTH,
    )
    for name in ("a.jpg", "a.png", "a.tif", "a.bmp", "a.webp"):
        assert read_shown_size(write_image(tmp_path / name)) == (WIDTH, HEIGHT)
    (tmp_path / "turned.xml").write_text(
        voc([(0, 0, HEIGHT, WIDTH, "x")], size=(HEIGHT, WIDTH)), "utf-8"
    )
    turned = next(e for e in read_folder(tmp_path).examples if e.image.name == "turned.jpg")
    assert turned.boxes is not None and turned.boxes.to_rows() == [(0, 0, HEIGHT, WIDTH, "x", 1)]


def test_a_folder_without_images_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no image"):
        read_folder(tmp_path)
    with pytest.raises(ValueError, match="not a folder"):
        read_folder(tmp_path / "missing")
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(ValueError, match="not a folder"):
        read_folder(tmp_path / "a.png")


@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data is not here")
def test_real_mitosis_images() -> None:
    folder = read_folder(SHARED / "plant_mitosis")
    labels = Counter(
        row[4] for e in folder.examples if e.boxes is not None for row in e.boxes.to_rows()
    )
    assert labels == {"Chromosomes": 63, "Others": 242}
    assert sum(len(e.ignored) for e in folder.examples) == 13
    assert len(folder.examples) == 60 and len({e.group for e in folder.examples}) == 12
    assert Counter(e.image_label for e in folder.examples) == {True: 55, False: 5}
    assert folder.skipped == []


@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data is not here")
def test_real_blood_smears() -> None:
    folder = read_folder(SHARED / "blood_cells")
    labelled = [e for e in folder.examples if e.boxes is not None]
    labels = Counter(row[4] for e in labelled if e.boxes for row in e.boxes.to_rows())
    # Two of the 4,155 red cells are marked by boxes of no width or height.
    assert labels == {"RBC": 4153, "WBC": 372, "Platelets": 361}
    assert len(labelled) == 364 and len(folder.examples) == 365
    assert len(folder.skipped) == 2
