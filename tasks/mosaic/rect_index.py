"""Which part of a scan shows an object whole: a tile, or a view put together over the seam.

Pure geometry: rectangles and boxes in px of the scan, left, top, right, bottom.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np

from ml_backend.imaging.merge_detections import find_overlapping, group_pairs
from tasks.readers.planes import Rect

Frame = tuple[float, float, float, float]

# Of the margin: the room that a view of the usual size has to leave on both sides of an object.
ROOM = 3


class RectIndex:
    """Rectangles by where they lie, so that none has to be asked that is far away.

    Attributes:
        rects: (N, 4) left, top, right, bottom.
        cell: Side of the squares that they are sorted into, px.
    """

    def __init__(self, rects: Sequence[Rect] | np.ndarray, cell: float = 0) -> None:
        """Sort rectangles (N, 4) into squares; as large as the largest of them by default."""
        self.rects = np.asarray(rects, np.float64).reshape(-1, 4)
        sides = self.rects[:, 2:] - self.rects[:, :2]
        self.cell = cell or float(max(1, sides.max(initial=1)))
        self._near: dict[tuple[int, int], list[int]] = defaultdict(list)
        for number, rect in enumerate(self.rects.tolist()):
            for square in self._squares(rect):
                self._near[square].append(number)

    def find_near(self, column: int, row: int) -> list[int]:
        """Return the numbers of the rectangles that reach into a square."""
        return self._near.get((column, row), [])

    def find_overlapping(self, rect: Sequence[float]) -> list[int]:
        """Return the numbers of the rectangles that a rectangle covers a part of, in order."""
        left, top, right, bottom = rect
        near = np.array(
            sorted({n for square in self._squares(rect) for n in self.find_near(*square)}), int
        )
        x1, y1, x2, y2 = self.rects[near].T
        return near[(x1 < right) & (left < x2) & (y1 < bottom) & (top < y2)].tolist()

    def _squares(self, rect: Sequence[float]) -> Iterator[tuple[int, int]]:
        left, top, right, bottom = (int(edge // self.cell) for edge in rect)
        return product(range(left, right + 1), range(top, bottom + 1))


def find_holders(
    boxes: np.ndarray, views: RectIndex, width: int, height: int, margin: float
) -> np.ndarray:
    """Find for each box the view in which it is farthest from the edges.

    A view counts only where the box ends more than a margin within it; the outer edges of the
    scan cut nothing.

    Args:
        boxes: (N, 4) in px of the scan.
        views: Where they lie.
        width: Of the scan, px.
        height: Of the scan, px.
        margin: In px.

    Returns:
        (N,) the number of the view, or -1.
    """
    best = np.full(len(boxes), -1)
    if not len(boxes):
        return best
    middle = ((boxes[:, :2] + boxes[:, 2:]) / 2 // views.cell).astype(int)
    buckets: dict[tuple[int, int], list[int]] = defaultdict(list)
    for number, (column, row) in enumerate(middle.tolist()):
        buckets[column, row].append(number)
    for place, members in buckets.items():
        candidates = np.array(views.find_near(*place), int)
        if len(candidates):
            clear = measure_clearance(boxes[members], views.rects[candidates], width, height)
            chosen = clear.argmax(axis=1)
            whole = clear[np.arange(len(members)), chosen] > margin
            best[np.array(members)[whole]] = candidates[chosen[whole]]
    return best


def measure_clearance(boxes: np.ndarray, views: np.ndarray, width: int, height: int) -> np.ndarray:
    """Measure how far boxes lie from the edges of views; the edges of the scan cut nothing.

    Args:
        boxes: (N, 4) in px of the scan.
        views: (V, 4) in px of the scan.
        width: Of the scan, px.
        height: Of the scan, px.

    Returns:
        (N, V) px from each box to the nearest edge of each view; below 0 outside.
    """
    inner = views != np.array([0, 0, width, height])
    gap = np.concatenate(
        [
            boxes[:, None, :2] - views[None, :, :2],
            views[None, :, 2:] - boxes[:, None, 2:],
        ],
        axis=2,
    )
    # The outer edge cuts nothing, and a box does not reach beyond it.
    return np.where(inner[None], gap, width + height).min(axis=2)


def place_view(
    box: Sequence[float], size: tuple[int, int], width: int, height: int, margin: float
) -> Rect:
    """Place a view of `size` (width, height) with a box near its middle, inside the scan.

    Half as large again is one that leaves a large object little room: all of it may be larger
    than what its pieces show. It lies on a grid of eighths of its size, so that boxes near each
    other share one and a slightly different box gets the same; unless the box has more room in
    the very middle, and needs it.
    """
    edges = []
    for low, high, side, length in (
        (box[0], box[2], size[0], width),
        (box[1], box[3], size[1], height),
    ):
        if high - low + 2 * ROOM * margin > side:
            side += side // 2
        step = max(1, side // 8)
        middle = (low + high) / 2 - side / 2
        start = round(middle / step) * step
        if min(low - start, start + side - high) <= ROOM * margin:
            start = round(middle)
        start = int(min(max(0, start), max(0, length - side)))
        edges.append((start, min(start + side, length)))
    (left, right), (top, bottom) = edges
    return left, top, right, bottom


def join_pieces(boxes: np.ndarray, margin: float, size: tuple[int, int]) -> np.ndarray:
    """Join pieces (N, 4) of objects that seams have cut; return the frames (M, 4) around them.

    Pieces no more than twice `margin` px apart are taken for one object, the nearest first, as
    long as the frame around them has room in the larger view of `place_view`, which has `size`.
    """
    near = 2 * margin
    grown = boxes + np.array([-near, -near, near, near]) / 2
    width, height = (np.array(size) * 3 // 2 - 2 * ROOM * margin).tolist()

    def frame(a: Frame, b: Frame) -> Frame | None:
        left, top, right, bottom = (*map(min, a[:2], b[:2]), *map(max, a[2:], b[2:]))
        fits = right - left <= width and bottom - top <= height
        return (left, top, right, bottom) if fits else None

    pairs = np.stack(find_overlapping(grown), axis=1)
    first, second = boxes[pairs[:, 0]], boxes[pairs[:, 1]]
    gap = np.maximum(first[:, :2], second[:, :2]) - np.minimum(first[:, 2:], second[:, 2:])
    order = np.lexsort((pairs[:, 1], pairs[:, 0], gap.max(axis=1)))
    alone: list[Frame] = [*map(tuple, boxes.tolist())]
    groups, frames = group_pairs(len(boxes), pairs[order].tolist(), alone.__getitem__, frame)
    return np.array([frames.get(box, alone[box]) for box in np.unique(groups)]).reshape(-1, 4)


def clip_to_view(boxes: np.ndarray, view: Rect) -> tuple[np.ndarray, np.ndarray]:
    """Return boxes (N, 4) clipped to a view, in its own px, and the share (N,) that it shows."""
    low, high = np.array(view[:2], np.float64), np.array(view[2:], np.float64)
    clipped = np.concatenate(
        [np.clip(boxes[:, :2], low, high), np.clip(boxes[:, 2:], low, high)], 1
    )
    area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    seen = (clipped[:, 2:] - clipped[:, :2]).prod(axis=1)
    share = np.divide(seen, area, out=np.zeros(len(boxes)), where=area > 0)
    return clipped - np.tile(low, 2), share


def plan_tiles(
    width: int, height: int, most: int
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Plan the tiles of an image: whole, or cut evenly where a side is more than twice `most`.

    Args:
        width: Of the image, px.
        height: Of the image, px.
        most: The largest side of a tile, px.

    Returns:
        (top, bottom) of each row and (left, right) of each column, in px.
    """
    large = max(width, height) > 2 * most
    return cut_evenly(height, most if large else height), cut_evenly(
        width, most if large else width
    )


def cut_evenly(length: int, most: int) -> list[tuple[int, int]]:
    """Cut a side of `length` px in equal parts of at most `most` px: their starts and ends."""
    parts = -(-length // most)
    edges = [round(length * i / parts) for i in range(parts + 1)]
    return list(zip(edges[:-1], edges[1:], strict=True))
