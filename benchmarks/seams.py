"""Merging the boxes of overlapping windows, beside trying every pair.

    uv run python benchmarks/seams.py

Objects are strewn over a scan until its windows show 33,000 boxes; `over_windows` makes them
objects again, and every object must come out once. On the first 2,000 boxes the pairs that
the spatial hash finds are compared with all pairs.
"""

from __future__ import annotations

import time

import numpy as np

from ml_backend.seams import Found, over_windows, overlapping
from ml_backend.windows import spans

BOXES, SIZE = 33_000, 40_000  # boxes that the windows show; px a side of the scan
SIDE, OVERLAP, MARGIN = 1536, 256, 2.0
MOST = 160  # px, the largest object


def main() -> None:
    rng = np.random.default_rng(0)
    truth = strewn(rng)
    found, truth = seen(truth)
    times = []
    for _ in range(5):
        started = time.perf_counter()
        objects = over_windows(found, SIZE, SIZE, MARGIN)
        times.append(time.perf_counter() - started)
    print(f"{len(found.xyxy):,} boxes of {truth:,} objects: {len(objects):,} objects")
    print(f"over_windows: {np.median(times):.3f} s (median of 5; at most {max(times):.3f} s)")

    few = found.xyxy[:2000]
    started = time.perf_counter()
    first, second = overlapping(few)
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


def strewn(rng: np.random.Generator) -> np.ndarray:
    """Boxes (N, 4) of 20 to MOST px, one in each square of a grid, so that none overlap."""
    side = SIZE // (MOST + 10)
    corner = np.stack(np.meshgrid(np.arange(side), np.arange(side)), axis=-1).reshape(-1, 2)
    corner = rng.permutation(corner) * (MOST + 10.0)
    size = rng.uniform(20, MOST, corner.shape)
    low = corner + rng.uniform(0, 1, corner.shape) * (MOST - size)
    return np.concatenate([low, low + size], axis=1)


def seen(truth: np.ndarray) -> tuple[Found, int]:
    """What the windows show of as many objects as make BOXES boxes, and how many objects."""
    rows = spans(SIZE, SIDE, OVERLAP)
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


def _found(xyxy: list[np.ndarray], view: list[np.ndarray]) -> Found:
    confidence = np.linspace(0.3, 1, len(xyxy))
    return Found(np.array(xyxy), np.zeros(len(xyxy), int), confidence, np.array(view))


if __name__ == "__main__":
    main()
