"""Scans of tiles, with a detector that reads the truth off the pixels: each object once."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ml_backend.imaging.decode import decode
from ml_backend.learners.detector import inference as detector_module
from ml_backend.learners.detector.inference import Detector
from ml_backend.learners.model_file import ModelCard
from tasks.detection.scan_detector import ScanDetector
from tasks.detection.scan_result import ScanResult
from tasks.review.checkpoint import Checkpoint
from tasks.review.selection import select_for_review
from tasks.sources.scan_source import SourceOptions
from tests.blobs import Blobs
from tests.conftest import disk

CARD = ModelCard("yolov5n", ("Cell", "Other"), ("Cell",), 1.0, 0.3)
WIDTH, HEIGHT = 96, 80


def detector() -> Detector:
    return Detector(CARD, Blobs())


@dataclass(frozen=True)
class Cell:
    """A bright ellipse: its box, and the plane where it is brightest."""

    box: tuple[int, int, int, int]
    plane: int


def strewn(rng: np.random.Generator, width: int, height: int, planes: int, largest: int):
    """Planes (P, H, W) uint8 and the cells in them, which do not touch each other."""
    stack = np.zeros((planes, height, width), np.uint8)
    free = np.ones((height, width), bool)
    cells = []
    for _ in range(60):
        w, h = (int(v) for v in rng.integers(12, largest, 2))
        x, y = (
            int(rng.integers(-w // 3, width - w // 2)),
            int(rng.integers(-h // 3, height - h // 2)),
        )
        around = np.s_[max(0, y - 5) : y + h + 5, max(0, x - 5) : x + w + 5]
        if not free[around].all():
            continue
        free[around] = False
        best = int(rng.integers(planes))
        shape = np.zeros((height, width), np.uint8)
        cv2.ellipse(shape, (x + w // 2, y + h // 2), (w // 2, h // 2), 0, 0, 360, 255, -1)
        box = cv2.boundingRect(shape)
        if box[2] < 8 or box[3] < 8:
            continue
        for plane in range(planes):
            stack[plane][shape > 0] = 240 - 40 * min(2, abs(plane - best))
        cells.append(Cell((box[0], box[1], box[0] + box[2], box[1] + box[3]), best))
    return stack, cells


def cut(
    folder: Path, stack: np.ndarray, rows: int, columns: int, overlap: int, ending: str = "png"
) -> None:
    for plane, pixels in enumerate(stack):
        for row in range(rows):
            for column in range(columns):
                y, x = row * (HEIGHT - overlap), column * (WIDTH - overlap)
                name = f"slide_r{row + 1}_c{column + 1}_z{plane + 1}.{ending}"
                cv2.imwrite(str(folder / name), pixels[y : y + HEIGHT, x : x + WIDTH])


def sheet_of(source: Path, how: SourceOptions) -> tuple[ScanResult, ScanDetector]:
    finder = ScanDetector(source, detector(), how)
    (sheet,) = finder.detect_scans()
    return sheet, finder


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    seed=st.integers(0, 10**6),
    rows=st.integers(1, 4),
    columns=st.integers(2, 4),
    planes=st.integers(1, 3),
    overlap=st.sampled_from([0, 0, 7, 20, 45]),
)
def test_every_object_over_seams_corners_and_planes_is_found_once(
    seed: int, rows: int, columns: int, planes: int, overlap: int
) -> None:
    width = columns * WIDTH - (columns - 1) * overlap
    height = rows * HEIGHT - (rows - 1) * overlap
    stack, cells = strewn(np.random.default_rng(seed), width, height, planes, 56)
    with tempfile.TemporaryDirectory() as folder:
        cut(Path(folder), stack, rows, columns, overlap)
        sheet, finder = sheet_of(Path(folder), SourceOptions(tile_overlap=overlap))
    assert (sheet.mosaic.width, sheet.mosaic.height) == (width, height)
    assert finder.tiles == sheet.tiles == rows * columns * planes and not finder.skipped
    truth = np.array([cell.box for cell in cells]).reshape(-1, 4)
    found = sheet.objects.xyxy
    assert len(found) == len(truth)
    if not len(truth):
        return
    apart = np.abs(found[:, None] - truth[None]).max(axis=2)
    nearest = apart.argmin(axis=1)
    assert sorted(nearest) == list(range(len(truth))) and apart.min(axis=1).max() <= 2
    assert [cells[i].plane + 1 for i in nearest] == sheet.best.tolist()
    outer = (truth[:, :2] <= 0).any(axis=1) | (truth[:, 2:] >= [width, height]).any(axis=1)
    assert (sheet.objects.partial[outer[nearest]]).all()
    inner = (truth[:, :2] > 8).all(axis=1) & (truth[:, 2:] < [width - 8, height - 8]).all(axis=1)
    assert not (sheet.objects.partial[inner[nearest]]).any()


@pytest.mark.parametrize("overlap", [0, 24])
@pytest.mark.parametrize("depth", ["each", "max"])
def test_a_tile_s_own_file_is_its_picture(tmp_path: Path, depth: str, overlap: int) -> None:
    planes = np.random.default_rng(4).integers(0, 255, (2, 160, 192), np.uint8)
    cut(tmp_path, planes, 2, 2, overlap)
    mosaic = sheet_of(tmp_path, SourceOptions(tile_overlap=overlap, depth=depth))[0].mosaic  # type: ignore[arg-type]
    own = 0
    for field in mosaic.tiles:
        left, top, right, bottom = field.rect
        for rect in (field.rect, (left + 1, top, right, bottom)):
            for plane in (1, 2):
                if (file := mosaic.find_file(plane, rect)) is not None:
                    own += 1
                    ((_, pixels),) = mosaic.read_parts(plane, [rect])
                    np.testing.assert_array_equal(decode(file.path), pixels)
    assert own == (8 if depth == "each" and not overlap else 0)


@pytest.mark.parametrize("overlap", [0, 24])
def test_the_overlap_of_tiles_is_seen_in_what_they_show(tmp_path: Path, overlap: int) -> None:
    rng = np.random.default_rng(2)
    noise = cv2.GaussianBlur(rng.normal(0, 60, (400, 460)).astype(np.float32), (0, 0), 1.5)
    scene = np.clip(60 + 2 * noise, 0, 99).astype(np.uint8)
    cut(tmp_path, scene[None], 4, 4, overlap)
    sheet, finder = sheet_of(tmp_path, SourceOptions())
    assert sheet.mosaic.width == 4 * WIDTH - 3 * overlap
    assert sheet.mosaic.height == 4 * HEIGHT - 3 * overlap
    (note,) = finder.notes
    assert ("abut" in note) == (overlap == 0) and "--tile-overlap" in note


def test_the_stage_s_own_word_comes_first(tmp_path: Path) -> None:
    for row in range(2):
        for column in range(2):
            plane = {
                "PositionX": 90 * 0.5 * column, "PositionXUnit": "µm",
                "PositionY": -70 * 0.5 * row, "PositionYUnit": "µm",
            }  # fmt: skip
            tifffile.imwrite(
                tmp_path / f"r{row}_c{column}.ome.tif",
                np.zeros((HEIGHT, WIDTH), np.uint8),
                metadata={
                    "axes": "YX",
                    "PhysicalSizeX": 0.5,
                    "PhysicalSizeXUnit": "µm",
                    "PhysicalSizeY": 500,
                    "PhysicalSizeYUnit": "nm",
                    "Plane": plane,
                },
            )
    sheet, finder = sheet_of(tmp_path, SourceOptions())
    assert (sheet.mosaic.width, sheet.mosaic.height) == (WIDTH + 90, HEIGHT + 70)
    assert "by their metadata, tiles share 6 px across and 10 px down" in finder.notes[0]


def test_contrast_is_that_of_all_tiles(tmp_path: Path) -> None:
    """A dim cell beside a bright one stays dim, in whatever tile each lies."""
    scene = np.full((HEIGHT, 3 * WIDTH), 1000, np.uint16)
    for column, light in enumerate((2000, 9000, 6000)):
        cv2.circle(scene, (column * WIDTH + 48, 40), 15, light, -1)
    cut(tmp_path, scene[None], 1, 3, 0, "tif")
    sheet, _ = sheet_of(tmp_path, SourceOptions(tile_overlap=0))
    assert len(sheet.objects) == 2
    assert sheet.objects.confidence == pytest.approx([1.0, 0.62], abs=0.02)


def test_contrast_is_that_of_samples_of_one_type(tmp_path: Path) -> None:
    """Beside counts in 16 bits what lies between 0 and 1 is no darkness."""
    for number, (dtype, light) in enumerate(
        ((np.uint16, 9000), (np.float32, 1), (np.uint16, 6000))
    ):
        scene = np.zeros((HEIGHT, WIDTH), dtype)
        cv2.circle(scene, (48, 40), 15, light, -1)
        tifffile.imwrite(tmp_path / f"r0_c{number}.tif", scene)
    sheet, _ = sheet_of(tmp_path, SourceOptions(tile_overlap=0))
    assert sheet.objects.confidence == pytest.approx([1.0, 1.0, 0.67], abs=0.02)


@pytest.mark.parametrize("depth", ["max", "focus"])
def test_a_stack_as_one_picture(tmp_path: Path, depth: str) -> None:
    rng = np.random.default_rng(0)
    stack = rng.integers(0, 30, (3, 2 * HEIGHT, 2 * WIDTH)).astype(np.uint8)
    cells = [((60, 60), 0), ((120, 90), 2)]
    for middle, best in cells:
        for plane in range(3):
            blob = np.zeros_like(stack[0])
            cv2.circle(blob, middle, 14, 230, -1)
            stack[plane] = np.maximum(
                stack[plane], cv2.GaussianBlur(blob, (0, 0), 0.5 + 3 * abs(plane - best))
            )
    cut(tmp_path, stack, 2, 2, 0)
    sheet, finder = sheet_of(tmp_path, SourceOptions(depth=depth, tile_overlap=0))  # type: ignore[arg-type]
    assert sheet.planes == [0] and finder.tiles == 4
    centres = (sheet.objects.xyxy[:, :2] + sheet.objects.xyxy[:, 2:]) / 2
    assert sorted(map(tuple, centres.round(-1).tolist())) == [(60, 60), (120, 90)]


def test_one_channel_of_many(tmp_path: Path) -> None:
    for channel in (1, 4):
        pixels = np.zeros((HEIGHT, WIDTH), np.uint8)
        cv2.circle(pixels, (20 * channel, 40), 10, 250, -1)
        for number in (1, 2):
            name = f"Image_XY01_0000{number}_Z001_CH{channel}.tif"
            cv2.imwrite(str(tmp_path / name), pixels)
    for asked, x in ((None, 20), (4, 80)):
        finder = ScanDetector(tmp_path, detector(), SourceOptions(channel=asked))
        sheets = list(finder.detect_scans())
        assert len(sheets) == 2 and finder.notes == [f"channel {asked or 1} of 1, 4 (--channel)"]
        assert [round(s.objects.xyxy[0, [0, 2]].mean()) for s in sheets] == [x, x]
    with pytest.raises(ValueError, match="--channel 2: the names of the files know 1, 4"):
        ScanDetector(tmp_path, detector(), SourceOptions(channel=2))
    stack = np.zeros((2, HEIGHT, WIDTH), np.uint8)
    cv2.circle(stack[1], (50, 40), 10, 250, -1)
    tifffile.imwrite(tmp_path / "both.ome.tif", stack, metadata={"axes": "CYX"})
    for asked, count in ((None, 0), (1, 1)):
        (sheet,) = ScanDetector(
            tmp_path / "both.ome.tif", detector(), SourceOptions(channel=asked)
        ).detect_scans()
        assert len(sheet.objects) == count and sheet.tiles == 1
    finder = ScanDetector(tmp_path / "both.ome.tif", detector(), SourceOptions(channel=2))
    assert list(finder.detect_scans()) == []
    assert finder.skipped[0]["reason"] == "there is no channel 2; it has 2, from 0 on"


def test_bad_tiles_are_listed_and_harm_no_other(tmp_path: Path) -> None:
    stack, _ = strewn(np.random.default_rng(1), 3 * WIDTH, 3 * HEIGHT, 1, 40)
    stack[:] = 0
    cv2.circle(stack[0], (2 * WIDTH, 30), 12, 250, -1)  # between two sound tiles
    cut(tmp_path, stack, 3, 3, 0)
    tile = {(r, c): tmp_path / f"slide_r{r}_c{c}_z1.png" for r in (1, 2, 3) for c in (1, 2, 3)}
    tile[2, 2].write_bytes(tile[2, 2].read_bytes()[:60])
    tile[3, 1].write_bytes(b"")
    tile[3, 3].write_text("no image at all")
    cv2.imwrite(str(tile[3, 2]), np.zeros((HEIGHT, WIDTH + 7), np.uint8))
    (tmp_path / "slide_r01_c1_z1.png").write_bytes(tile[1, 1].read_bytes())
    (tmp_path / "notes.txt").write_text("taken on a Tuesday")
    sheet, finder = sheet_of(tmp_path, SourceOptions(tile_overlap=0))
    reasons = {entry["source"][6:11]: entry["reason"] for entry in finder.skipped}
    assert set(reasons) == {"r2_c2", "r3_c1", "r3_c3", "r3_c2", "r01_c"} or set(reasons) == {
        "r2_c2", "r3_c1", "r3_c3", "r3_c2", "r1_c1",
    }  # fmt: skip
    assert "103 × 80 px, where the other tiles of the scan have 96 × 80" in reasons["r3_c2"]
    assert any("the same row, column and plane as" in reason for reason in reasons.values())
    assert finder.tiles == 5 and len(sheet.objects) == 1 and not sheet.objects.partial.any()


def test_an_object_beside_a_missing_tile_is_partial(tmp_path: Path) -> None:
    scene = np.zeros((HEIGHT, 3 * WIDTH), np.uint8)
    cv2.circle(scene, (WIDTH, 40), 14, 250, -1)
    cut(tmp_path, scene[None], 1, 3, 0)
    (tmp_path / "slide_r1_c1_z1.png").write_bytes(b"")
    sheet, _ = sheet_of(tmp_path, SourceOptions(tile_overlap=0))
    assert sheet.objects.partial.tolist() == [True]


def test_a_tile_without_a_plane_that_others_have_is_no_black_one(tmp_path: Path) -> None:
    scene = np.zeros((3, 2 * HEIGHT, 2 * WIDTH), np.uint8)
    cv2.circle(scene[2], (WIDTH, 40), 14, 250, -1)
    cut(tmp_path, scene, 2, 2, 0)
    (tmp_path / "slide_r1_c2_z3.png").unlink()
    sheet, finder = sheet_of(tmp_path, SourceOptions(tile_overlap=0))
    assert sheet.unread == {(1, 3)} and sheet.tiles == finder.tiles == 11
    assert sheet.objects.partial.tolist() == [True] and not finder.skipped
    assert finder.notes[1:] == [
        f"{tmp_path.name}: not every tile has all planes: slide_r1_c2_z1.png has no plane 3"
    ]
    views = select_for_review(
        sheet, "all", most=1024, headline=("Cell",), threshold=0.3, key=lambda *_: "key"
    )
    black = sheet.mosaic.tiles[1].rect
    assert [view.plane for view in views if view.tile.rect == black] == [1, 2]


def test_tiles_of_several_pages_say_which_they_lack(tmp_path: Path) -> None:
    for column, pages in enumerate((3, 1, 3)):
        stack = np.zeros((pages, HEIGHT, WIDTH), np.uint8)
        tifffile.imwrite(tmp_path / f"r0_c{column}.tif", stack, photometric="minisblack")
    sheet, finder = sheet_of(tmp_path, SourceOptions(tile_overlap=0))
    assert sheet.unread == {(1, 1), (1, 2)} and finder.tiles == 7
    assert finder.notes[-1].endswith("r0_c1.tif has no plane 1 and 1 more")
    (tmp_path / "r0_c1.tif").write_bytes(b"")
    sheet, finder = sheet_of(tmp_path, SourceOptions(tile_overlap=0))
    assert len(finder.notes) == 1 and [entry["source"] for entry in finder.skipped] == ["r0_c1.tif"]


def test_a_place_without_a_tile_is_told(tmp_path: Path) -> None:
    cut(tmp_path, np.zeros((1, 3 * HEIGHT, 2 * WIDTH), np.uint8), 3, 2, 0)
    (tmp_path / "slide_r2_c2_z1.png").unlink()
    _, finder = sheet_of(tmp_path, SourceOptions(tile_overlap=0))
    assert "1 place of its grid has no tile (3 rows, 2 columns)" in finder.notes[-1]


def test_a_file_of_several_planes_is_not_one_of_them(tmp_path: Path) -> None:
    for plane, pages in enumerate((1, 2, 1)):
        stack = np.full((pages, HEIGHT, WIDTH), 40, np.uint8)
        cv2.circle(stack[0], (48, 40), 14, 250, -1)
        tifffile.imwrite(tmp_path / f"z{plane}.tif", stack, photometric="minisblack")
    sheet, finder = sheet_of(tmp_path, SourceOptions())
    assert sheet.planes == [0, 2] and len(sheet.objects) == 1
    assert finder.skipped == [
        {"source": "z1.tif", "reason": "by its name it is plane 1, and it holds 2 of them"}
    ]


@pytest.mark.parametrize("depth", ["max", "focus"])
def test_a_projection_is_of_the_planes_that_can_be_read(tmp_path: Path, depth: str) -> None:
    """Wherever one lacks, what lies on the seam is found as a whole."""
    scene = np.zeros((3, HEIGHT, 3 * WIDTH), np.uint8)
    for x in (WIDTH, 2 * WIDTH):
        cv2.circle(scene[1], (x, 40), 14, 250, -1)
    cut(tmp_path, scene, 1, 3, 0)
    (tmp_path / "slide_r1_c1_z1.png").unlink()
    (tmp_path / "slide_r1_c2_z1.png").write_bytes(b"")
    cv2.imwrite(str(tmp_path / "slide_r1_c2_z3.png"), np.zeros((7, 7), np.uint8))
    sheet, finder = sheet_of(tmp_path, SourceOptions(depth=depth, tile_overlap=0))  # type: ignore[arg-type]
    assert len(sheet.objects) == 2 and not sheet.objects.partial.any()
    assert finder.tiles == 3 and not sheet.unread and len(finder.notes) == 1
    assert {entry["source"]: entry["reason"] for entry in finder.skipped} == {
        "slide_r1_c2_z1.png": "the file is empty",
        "slide_r1_c2_z3.png": "7 × 7 px, where others have 96 × 80",
    }
    for plane in (2, 3):
        (tmp_path / f"slide_r1_c2_z{plane}.png").write_bytes(b"")
    sheet, finder = sheet_of(tmp_path, SourceOptions(depth=depth, tile_overlap=0))  # type: ignore[arg-type]
    assert sheet.unread == {(1, 0)} and finder.tiles == 2
    assert len(finder.skipped) == 3 and len(finder.notes) == 1


def test_cells_nearly_as_large_as_tiles_are_found_once(tmp_path: Path) -> None:
    scene = np.zeros((3 * HEIGHT, 3 * WIDTH), np.uint8)
    cells = [(50, 40, 88, 74), (150, 100, 90, 70), (262, 20, 14, 79)]
    for x, y, width, height in cells:
        scene[y : y + height, x : x + width] = 250
    cut(tmp_path, scene[None], 3, 3, 0)
    sheet, _ = sheet_of(tmp_path, SourceOptions(tile_overlap=0))
    assert sorted(sheet.objects.xyxy.tolist()) == [[x, y, x + w, y + h] for x, y, w, h in cells]
    assert not sheet.objects.partial.any()
    views = select_for_review(
        sheet, "found", most=1024, headline=("Cell",), threshold=0.3, key=lambda *_: "key"
    )
    assert [view.found for view in views] == [1, 1, 1]


def test_what_was_seen_is_remembered(tmp_path: Path) -> None:
    folder = tmp_path / "scan"
    folder.mkdir()
    stack, _ = strewn(np.random.default_rng(5), 3 * WIDTH, 2 * HEIGHT, 2, 50)
    cut(folder, stack, 2, 3, 0)
    boxes = []
    seen = []
    for _ in range(2):
        runtime = Blobs()
        checkpoint = Checkpoint(tmp_path / "checkpoint.sqlite")
        finder = ScanDetector(
            folder, Detector(CARD, runtime), SourceOptions(tile_overlap=0), memory=checkpoint
        )
        (sheet,) = finder.detect_scans()
        boxes.append((sheet.objects.xyxy.tolist(), sheet.best.tolist(), finder.tiles))
        seen.append(runtime.seen)
        checkpoint.close()
    assert boxes[0] == boxes[1] and boxes[0][0]
    assert seen[0] > 12 and seen[1] == 0  # what was looked at over seams, too


class Killed(Exception):
    pass


def test_of_a_mosaic_that_was_stopped_only_the_rest_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detector_module, "WINDOW", 128)
    monkeypatch.setattr(detector_module, "OVERLAP", 64)
    stack, _ = strewn(np.random.default_rng(7), 420, 420, 1, 50)
    cv2.imwrite(str(tmp_path / "mosaic.png"), stack[0])

    class Mortal(Blobs):
        left = 1000

        def infer(self, batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
            for answer in super().infer(batches):
                self.left -= 1
                if not self.left:
                    raise Killed
                yield answer

    def found(left: int, name: str) -> tuple[list, int]:
        runtime = Mortal()
        runtime.left = left
        checkpoint = Checkpoint(tmp_path / name)
        finder = ScanDetector(
            tmp_path / "mosaic.png", Detector(CARD, runtime), SourceOptions(), memory=checkpoint
        )
        try:
            (sheet,) = finder.detect_scans()
        finally:
            checkpoint.close()
        return sheet.objects.xyxy.tolist(), runtime.seen

    whole, windows = found(1000, "whole.sqlite")
    assert whole and windows > 20
    with pytest.raises(Killed):
        found(15, "stopped.sqlite")
    again, rest = found(1000, "stopped.sqlite")
    assert again == whole and windows - 14 <= rest <= windows - 10


def test_a_ledger_on_a_full_disk_ends_the_scan_and_the_next_start_goes_on(tmp_path: Path) -> None:
    stack, _ = strewn(np.random.default_rng(3), 8 * WIDTH, 5 * HEIGHT, 1, 40)
    source = tmp_path / "tiles"
    source.mkdir()
    cut(source, stack, 5, 8, 0)
    whole, _ = sheet_of(source, SourceOptions(tile_overlap=0))
    with disk(tmp_path / "disk", "2m") as folder:
        ballast = folder / "ballast"
        kept: list[int] = []
        for room in (200, None):  # KB that are left
            ballast.unlink() if room is None else ballast.write_bytes(bytes((2048 - room) << 10))
            runtime = Blobs()
            checkpoint = Checkpoint(folder / "scan.sqlite")
            finder = ScanDetector(
                source, Detector(CARD, runtime), SourceOptions(tile_overlap=0), memory=checkpoint
            )
            try:
                if room is None:
                    (sheet,) = finder.detect_scans()
                else:
                    with pytest.raises(sqlite3.OperationalError, match="disk is full"):
                        list(finder.detect_scans())
            finally:
                checkpoint.close()
            kept.append(runtime.seen)
    assert sheet.objects.xyxy.tolist() == whole.objects.xyxy.tolist()
    assert kept[1] < 40 + 60


def test_names_that_all_do_not_fit_the_pattern_are_listed(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((50, 50), np.uint8))
    finder = ScanDetector(tmp_path, detector(), SourceOptions(pattern="x{row}_{column}"))
    assert list(finder.detect_scans()) == [] and len(finder.skipped) == 1
