"""Detections of files and folders, with a detector that reads the truth off the pixels."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ml_backend.dataset.annotation_formats.detection_table import COLUMNS
from ml_backend.demo.synthetic_images import generate_mitosis_scene
from ml_backend.learners.detector import inference as detector_module
from ml_backend.learners.detector.inference import Detector
from ml_backend.learners.model_file import ModelCard
from ml_backend.system.atomic_files import DiskFull
from tasks.detection.detect_files import DetectionSummary, detect
from tasks.readers import open
from tasks.sources.discover import list_image_files, split_numbers
from tests.blobs import Blobs
from tests.conftest import disk

CARD = ModelCard("yolov5n", ("Mitotic cell", "Other"), ("Mitotic cell",), 1.0, 0.3)


class Reader:
    """Answers one box (8, 8)-(24, 24), as confident as the pixel in its middle is bright."""

    batch = 1

    def infer(self, batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        for batch in batches:
            answer = np.zeros((len(batch), 6, 1), np.float32)
            answer[:, :4, 0] = 16
            answer[:, 4, 0] = batch[:, 16, 16, 0] / 255
            yield answer


DETECTOR = Detector(CARD, Reader())


def tile(path: Path, shade: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (32, 32), shade).save(path)


def run(source: Path, out: Path) -> DetectionSummary:
    return detect(source, DETECTOR, out, "some-version", lambda done, total: None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "tiles"
    for number in (10, 2, 1):
        tile(folder / f"tile{number}.png", 100 + number)
    tile(folder / "deeper" / "Tile3.TIF", 255)
    tile(folder / "dark.jpg", 3)
    (folder / "empty.png").touch()
    (folder / "broken.png").write_bytes((folder / "tile1.png").read_bytes()[:50])
    (folder / "notes.txt").write_text("not an image, and not meant to be one")
    tile(folder / ".thumbnails" / "tile1.png", 200)
    return folder


def test_finds_in_every_image_and_lists_the_bad_ones(folder: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    summary = detect(
        folder, DETECTOR, tmp_path / "out.json", "some-version", lambda *at: seen.append(at)
    )
    records = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert [r["source"] for r in records] == [
        "deeper/Tile3.TIF",
        "tile1.png",
        "tile2.png",
        "tile10.png",
    ]
    assert set(records[0]) == set(COLUMNS)
    corners = {"x1": 8, "y1": 8, "x2": 24, "y2": 24}
    assert records[0] == {
        "source": "deeper/Tile3.TIF",
        **corners,
        "label": "Mitotic cell",
        "confidence": 1.0,
        "plane": 0,
    }
    assert summary["tiles"] == 5 and summary["detections"] == 4
    assert [s["source"] for s in summary["skipped"]] == ["broken.png", "empty.png"]
    assert all("\n" not in s["reason"] for s in summary["skipped"])
    assert summary["model"] == "some-version"
    assert summary["tiles_per_second"] == pytest.approx(5 / summary["seconds"], rel=0.1)
    assert [done for done, _ in seen] == list(range(1, 8)) and seen[-1] == (7, 7)


def test_csv_holds_what_json_holds(folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path / "out.json")
    run(folder, tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    records = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert tuple(rows[0]) == COLUMNS
    typed = [
        {key: type(record[key])(value) for key, value in row.items()}
        for row, record in zip(rows, records, strict=True)
    ]
    assert typed == records


def test_the_same_twice_is_the_same_file(folder: Path, tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        run(folder, tmp_path / name)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_a_single_file_is_named_by_its_name(folder: Path, tmp_path: Path) -> None:
    summary = run(folder / "tile2.png", tmp_path / "out.json")
    assert summary["tiles"] == 1
    assert json.loads((tmp_path / "out.json").read_text())[0]["source"] == "tile2.png"


@pytest.mark.parametrize("ending", [".json", ".csv"])
def test_nothing_found_is_a_valid_empty_file(tmp_path: Path, ending: str) -> None:
    tile(tmp_path / "dark.png", 0)
    summary = run(tmp_path / "dark.png", tmp_path / f"out{ending}")
    assert summary["detections"] == 0 and summary["tiles"] == 1
    text = (tmp_path / f"out{ending}").read_text()
    assert json.loads(text) == [] if ending == ".json" else text.strip() == ",".join(COLUMNS)


def test_links_out_of_the_folder_are_not_followed(folder: Path, tmp_path: Path) -> None:
    tile(tmp_path / "private" / "secret.png", 250)
    try:
        (folder / "out.png").symlink_to(tmp_path / "private" / "secret.png")
        (folder / "again.png").symlink_to(folder / "tile1.png")
        (folder / "loop").symlink_to(folder, target_is_directory=True)
        (folder / "away").symlink_to(tmp_path / "private", target_is_directory=True)
    except OSError:
        pytest.skip("this system does not let us make links")
    paths, skipped = list_image_files(folder)
    names = [path.relative_to(folder).as_posix() for path in paths]
    assert "again.png" in names
    assert not any(name.startswith(("out", "loop", "away")) for name in names)
    assert [entry["source"] for entry in skipped] == ["away", "out.png"]


def test_what_cannot_work_is_said_before_the_work(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\.json or a \.csv file"):
        run(folder, tmp_path / "out.xlsx")
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        run(tmp_path / "none", tmp_path / "out.json")
    (tmp_path / "nothing").mkdir()
    with pytest.raises(ValueError, match="holds no images"):
        run(tmp_path / "nothing", tmp_path / "out.json")
    assert not (tmp_path / "out.json").exists()


def test_a_run_that_fails_leaves_the_old_file(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    out.write_text("the last run's")

    def interrupt(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        detect(folder, DETECTOR, out, "some-version", interrupt)
    assert out.read_text() == "the last run's"
    assert {p.name for p in tmp_path.iterdir()} == {"out.json", "tiles"}


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=20, unique=True))
def test_numbers_in_names_sort_as_numbers(numbers: list[int]) -> None:
    names = [f"Tile_{number}.png" for number in numbers]
    random.Random(0).shuffle(names)
    assert sorted(names, key=split_numbers) == [f"Tile_{n}.png" for n in sorted(numbers)]


@given(st.lists(st.text(max_size=12), max_size=20))
def test_any_names_have_an_order(names: list[str]) -> None:
    backwards = names[::-1]
    assert sorted(names, key=split_numbers) == sorted(backwards, key=split_numbers)


def windowed(monkeypatch: pytest.MonkeyPatch) -> Detector:
    """A detector with small windows, for which small scans are large."""
    monkeypatch.setattr(detector_module, "WINDOW", 320)
    monkeypatch.setattr(detector_module, "OVERLAP", 130)
    monkeypatch.setattr(open, "WHOLE_PIXELS", 10_000)
    return Detector(CARD, Blobs())


@pytest.mark.parametrize("name", ["mosaic.png", "mosaic.tif", "tiled.tif"])
def test_cells_on_the_seams_of_a_mosaic_are_found_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    detector = windowed(monkeypatch)
    scene = generate_mitosis_scene(5, (1100, 900), dividing=12, scale=0.35)
    mosaic = np.zeros_like(scene.image)
    for placed in scene.objects:  # whole and evenly bright, so that each is one blob
        x1, y1, x2, y2 = placed.box
        cv2.ellipse(
            mosaic,
            ((x1 + x2) // 2, (y1 + y2) // 2),
            ((x2 - x1) // 2, (y2 - y1) // 2),
            *(0, 0, 360, (220, 220, 220), -1),
        )
    path = tmp_path / name
    if name == "tiled.tif":
        tifffile.imwrite(path, mosaic, photometric="rgb", tile=(64, 64), compression="zlib")
    else:
        cv2.imwrite(str(path), mosaic)
    outlines, _ = cv2.findContours(mosaic[..., 0], cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    truth = np.array([(x, y, x + w, y + h) for x, y, w, h in map(cv2.boundingRect, outlines)])
    assert (truth[:, 2:] - truth[:, :2]).max() < 130
    cuts = np.array([190, 320])
    assert any(((box[0] < cuts) & (cuts < box[2])).any() for box in truth)

    summary = detect(path, detector, tmp_path / "out.json", "v", lambda done, total: None)
    records = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    found = np.array([[r["x1"], r["y1"], r["x2"], r["y2"]] for r in records])
    assert summary["tiles"] == 1 and summary["skipped"] == []
    assert len(found) == len(truth) == summary["detections"] > 8
    assert np.abs(found[:, None] - truth[None]).max(axis=2).min(axis=0).max() <= 2


def test_an_object_of_a_stack_is_found_once_in_its_best_plane(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = windowed(monkeypatch)
    stack = np.zeros((5, 400, 500), np.uint8)
    for number, light in enumerate((150, 180, 250, 170, 140)):
        cv2.circle(stack[number], (300, 200), 30, light, -1)
    cv2.circle(stack[4], (60, 60), 20, 240, -1)
    tifffile.imwrite(tmp_path / "stack.tif", stack, photometric="minisblack")
    summary = detect(tmp_path / "stack.tif", detector, tmp_path / "out.json", "v", lambda *at: None)
    records = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert [(r["plane"], r["x1"], r["x2"]) for r in records] == [(2, 270, 331), (4, 40, 81)]
    assert summary["tiles"] == 5 and summary["detections"] == 2


def test_a_stack_that_is_cut_off_is_listed_and_takes_nothing_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = windowed(monkeypatch)
    folder = tmp_path / "scans"
    folder.mkdir()
    stack = np.random.default_rng(0).integers(0, 100, (4, 200, 150), np.uint8)
    stack[0, 50:90, 50:90] = 200
    path = folder / "a.tif"
    with tifffile.TiffWriter(path) as file:
        for page in stack:
            file.write(page, photometric="minisblack", contiguous=False, compression="zlib")
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.6)])
    cv2.imwrite(str(folder / "b.png"), stack[0])
    summary = detect(folder, detector, tmp_path / "out.csv", "v", lambda *at: None)
    assert summary["tiles"] == 3 and summary["detections"] == 2
    assert {entry["source"] for entry in summary["skipped"]} == {"a.tif"}
    assert [entry["reason"][:8] for entry in summary["skipped"]] == ["plane 2:", "plane 3:"]


@pytest.mark.parametrize("ending", ["csv", "coco.json"])
def test_a_full_disk_ends_it_in_one_line_and_leaves_nothing_half_written(
    tmp_path: Path, ending: str
) -> None:
    for number in range(40):
        tile(tmp_path / "tiles" / f"tile{number}.png", 200)
    with disk(tmp_path / "disk", "64k") as folder:
        ballast, out = folder / "ballast", folder / f"out.{ending}"
        ballast.write_bytes(bytes(64 << 10))
        with pytest.raises(DiskFull, match=f"the disk is full, {out} was not written: make room"):
            run(tmp_path / "tiles", out)
        assert [path.name for path in folder.iterdir()] == ["ballast"]
        ballast.unlink()
        assert run(tmp_path / "tiles", out)["detections"] == 40 and out.exists()
