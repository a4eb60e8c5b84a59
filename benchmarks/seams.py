"""Merging the boxes of overlapping windows, beside trying every pair.

    uv run python benchmarks/seams.py

Objects are strewn over a scan until its windows show 33,000 boxes; `over_windows` makes them
objects again, and every object must come out once. On the first 2,000 boxes the pairs that
the spatial hash finds are compared with all pairs.

Then 10,000 objects of every size are placed at random in scans of tiles, over seams, corners
and planes, the tiles written as files, and found again by a runtime that reads boxes off the
pixels: each must come out once, with its box within 2 px, in the plane where it is brightest.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import cv2
import numpy as np

from ml_backend.imaging.merge_detections import WindowDetections, find_overlapping, merge_windows
from ml_backend.imaging.sliding_windows import plan_spans
from ml_backend.learners.detector.inference import Detector
from ml_backend.learners.model_file import ModelCard
from tasks.detection.scan_detector import ScanDetector
from tasks.sources.scan_source import SourceOptions

sys.path.insert(0, str(Path(__file__).parents[1]))  # what reads the truth is shared with the tests

from tests.blobs import Blobs

BOXES, SIZE = 33_000, 40_000  # boxes that the windows show; px a side of the scan
SIDE, OVERLAP, MARGIN = 1536, 256, 2.0
MOST = 160  # px, the largest object

PLACEMENTS = 10_000
TILE = (96, 80)  # px, width and height
LARGEST = 60  # px, three quarters of a tile's height
OVERLAPS = (0, 0, 9, 24, 48)  # px that tiles share; most microscopes are told to share none


def main() -> None:
    rng = np.random.default_rng(0)
    truth = strewn(rng)
    found, truth = seen(truth)
    times = []
    for _ in range(5):
        started = time.perf_counter()
        objects = merge_windows(found, SIZE, SIZE, MARGIN)
        times.append(time.perf_counter() - started)
    print(f"{len(found.xyxy):,} boxes of {truth:,} objects: {len(objects):,} objects")
    print(f"over_windows: {np.median(times):.3f} s (median of 5; at most {max(times):.3f} s)")

    few = found.xyxy[:2000]
    started = time.perf_counter()
    first, second = find_overlapping(few)
    hashed = time.perf_counter() - started
    started = time.perf_counter()
    low = np.maximum(few[:, None, :2], few[None, :, :2])
    high = np.minimum(few[:, None, 2:], few[None, :, 2:])
    every = np.argwhere(np.triu((low < high).all(axis=2), 1))
    tried = time.perf_counter() - started
    pairs = np.sort(np.stack([first, second], axis=1), axis=1)
    pairs = pairs[np.lexsort(pairs.T[::-1])]
    print(
        f"pairs among {len(few):,} boxes: {len(pairs):,} by hash in {hashed:.4f} s, "
        f"{len(every):,} by trying all in {tried:.4f} s, equal: {np.array_equal(pairs, every)}"
    )
    placed()


def placed() -> None:
    rng = np.random.default_rng(1)
    count: Counter[str] = Counter()
    worst = 0.0
    while count["placed"] < PLACEMENTS:
        overlap = int(rng.choice(OVERLAPS))
        rows, columns, planes = (int(n) for n in rng.integers((1, 2, 1), (5, 6, 4)))
        width = columns * TILE[0] - (columns - 1) * overlap
        height = rows * TILE[1] - (rows - 1) * overlap
        stack, truth, best = scene(rng, width, height, planes)
        with tempfile.TemporaryDirectory() as folder:
            cut(Path(folder), stack, rows, columns, overlap)
            detector = Detector(CARD, Blobs())
            (sheet,) = ScanDetector(
                Path(folder), detector, SourceOptions(tile_overlap=overlap)
            ).detect_scans()
        apart = np.abs(sheet.objects.xyxy[:, None] - truth[None]).max(axis=2)
        mine = apart.argmin(axis=1)
        times = np.bincount(mine[apart.min(axis=1) <= 2], minlength=len(truth))
        count["placed"] += len(truth)
        count["once"] += int((times == 1).sum())
        count["missing"] += int((times == 0).sum())
        count["twice"] += int((times > 1).sum())
        count["no object"] += int((apart.min(axis=1) > 2).sum())
        count["best plane"] += int((best[mine] + 1 == sheet.best).sum())
        x = np.arange(1, columns) * (TILE[0] - overlap)
        y = np.arange(1, rows) * (TILE[1] - overlap)
        over_x = ((truth[:, :1] < x) & (x < truth[:, 2:3])).any(axis=1)
        over_y = ((truth[:, 1:2] < y) & (y < truth[:, 3:])).any(axis=1)
        count["over a seam"] += int((over_x | over_y).sum())
        count["over a corner"] += int((over_x & over_y).sum())
        worst = max(worst, float(apart.min(axis=1)[apart.min(axis=1) <= 2].max(initial=0)))
    print(
        f"{count['placed']:,} objects placed, {count['over a seam']:,} over a seam, "
        f"{count['over a corner']:,} over a corner of tiles: {count['once']:,} found once, "
        f"{count['twice']} twice, {count['missing']} not, {count['no object']} boxes of nothing; "
        f"boxes off by at most {worst:.1f} px; {count['best plane']:,} in their best plane"
    )


CARD = ModelCard("yolov5n", ("Cell", "Other"), ("Cell",), 1.0, 0.3)


def scene(
    rng: np.random.Generator, width: int, height: int, planes: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Planes (P, H, W) uint8; boxes (N, 4) of what is in them; the plane of each (N,)."""
    stack = np.zeros((planes, height, width), np.uint8)
    free = np.ones((height, width), bool)
    boxes, best = [], []
    for _ in range(100):
        w, h = (int(v) for v in rng.integers(10, LARGEST, 2))
        x, y = int(rng.integers(0, width - w)), int(rng.integers(0, height - h))
        around = np.s_[max(0, y - 5) : y + h + 5, max(0, x - 5) : x + w + 5]
        if not free[around].all():
            continue
        free[around] = False
        shape = np.zeros((height, width), np.uint8)
        cv2.ellipse(shape, (x + w // 2, y + h // 2), (w // 2, h // 2), 0, 0, 360, 255, -1)
        left, top, across, down = cv2.boundingRect(shape)
        boxes.append((left, top, left + across, top + down))
        best.append(int(rng.integers(planes)))
        for plane in range(planes):
            stack[plane][shape > 0] = 240 - 40 * min(2, abs(plane - best[-1]))
    return stack, np.array(boxes), np.array(best)


def cut(folder: Path, stack: np.ndarray, rows: int, columns: int, overlap: int) -> None:
    for plane, pixels in enumerate(stack):
        for row in range(rows):
            for column in range(columns):
                y, x = row * (TILE[1] - overlap), column * (TILE[0] - overlap)
                path = folder / f"r{row}_c{column}_z{plane + 1}.png"
                cv2.imwrite(str(path), pixels[y : y + TILE[1], x : x + TILE[0]])


def strewn(rng: np.random.Generator) -> np.ndarray:
    """Boxes (N, 4) of 20 to MOST px, one in each square of a grid, so that none overlap."""
    side = SIZE // (MOST + 10)
    corner = np.stack(np.meshgrid(np.arange(side), np.arange(side)), axis=-1).reshape(-1, 2)
    corner = rng.permutation(corner) * (MOST + 10.0)
    size = rng.uniform(20, MOST, corner.shape)
    low = corner + rng.uniform(0, 1, corner.shape) * (MOST - size)
    return np.concatenate([low, low + size], axis=1)


def seen(truth: np.ndarray) -> tuple[WindowDetections, int]:
    """What the windows show of as many objects as make BOXES boxes, and how many objects."""
    rows = plan_spans(SIZE, SIDE, OVERLAP)
    views = np.array([(x1, y1, x2, y2) for y1, y2 in rows for x1, x2 in rows])
    xyxy, view = [], []
    for count, box in enumerate(truth):
        if len(xyxy) >= BOXES:
            return _found(xyxy, view), count
        cut = np.clip(box, views[:, [0, 1, 0, 1]], views[:, [2, 3, 2, 3]])
        for number in np.flatnonzero((cut[:, 2:] > cut[:, :2]).all(axis=1)):
            xyxy.append(cut[number])
            view.append(views[number])
    return _found(xyxy, view), len(truth)


def _found(xyxy: list[np.ndarray], view: list[np.ndarray]) -> WindowDetections:
    confidence = np.linspace(0.3, 1, len(xyxy))
    return WindowDetections(np.array(xyxy), np.zeros(len(xyxy), int), confidence, np.array(view))


if __name__ == "__main__":
    main()
