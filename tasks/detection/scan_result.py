"""The result of a scan: every object once, over all seams and planes.

Where tiles only abut, an object on the seam is nowhere whole: there the detector looks once
more, at pixels put together from the neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ml_backend.imaging.merge_detections import (
    Objects,
    WindowDetections,
    find_overlapping,
    merge_planes,
    merge_windows,
)
from ml_backend.learners.base import ObjectDetector
from tasks.detection.accumulator import DetectionBuffer
from tasks.detection.window_detector import PlaneDetections
from tasks.mosaic import rect_index
from tasks.mosaic.mosaic import Mosaic, MosaicPart
from tasks.readers.planes import Rect

# Detects in parts, each as one plane; a reason where that cannot be done.
DetectParts = Callable[
    [Sequence[MosaicPart]], Iterable[tuple[MosaicPart, list[PlaneDetections] | str]]
]

# Of the threshold: a piece of an object that is cut by a seam is less sure than all of it.
PIECE = 0.5
# Input px: at the edge of a tile a piece's box may end this far from where it is cut. More
# than at the edge of a window, because here no copy from a neighbouring window shows it.
SEAM = 3
# A box below the threshold that lies so much in an object is no doubt of its own.
SAME = 0.3


@dataclass
class ScanResult:
    """A scan, or a stack of one, with what was detected.

    Attributes:
        mosaic: Where its tiles lie.
        planes: The numbers of those that were read.
        tiles: How many planes were read, of all tiles.
        objects: Those from the threshold on, each once over seams and planes.
        best: (N,) the plane of each.
        drawn: By plane, what a picture of it shows from the threshold on.
        doubts: By plane, what a picture of it shows below the threshold.
        unread: (tile, plane) that could not be read.
    """

    mosaic: Mosaic
    planes: list[int]
    tiles: int
    objects: Objects
    best: np.ndarray
    drawn: dict[int, Objects]
    doubts: dict[int, Objects]
    unread: set[tuple[int, int]] = field(default_factory=set)


def merge_scan(
    mosaic: Mosaic,
    buffers: dict[int, DetectionBuffer],
    tiles: int,
    unread: set[tuple[int, int]],
    detector: ObjectDetector,
    detect_parts: DetectParts,
) -> ScanResult:
    """Merge the detections of a scan over its seams and planes.

    Args:
        mosaic: Where its tiles lie.
        buffers: What all tiles show, by plane, px of the scan; they are used up.
        tiles: How many planes were read, of all tiles.
        unread: (tile, plane) that could not be read.
        detector: What detects.
        detect_parts: Detects in parts of the mosaic, each as one plane.
    """
    planes = sorted(buffers)
    if len(mosaic.tiles) > 1:
        _detect_over_seams(mosaic, buffers, detector, detect_parts)
    drawn, doubts = {}, {}
    for number in planes:
        gaps = mosaic.gaps + [mosaic.tiles[i].rect for i, plane in unread if plane == number]
        drawn[number], doubts[number] = _objects(buffers.pop(number).join(), mosaic, gaps, detector)
    objects, places = merge_planes([drawn[number] for number in planes])
    best = np.array(planes)[places]
    return ScanResult(mosaic, planes, tiles, objects, best, drawn, doubts, unread)


def _objects(
    found: WindowDetections, mosaic: Mosaic, gaps: list[Rect], detector: ObjectDetector
) -> tuple[Objects, Objects]:
    """What is detected in a plane from the threshold on, and what below it.

    gaps: where there are no tiles; what ends there may go on.
    """
    sure = found.confidence >= detector.card.threshold
    margin = _margin(mosaic, detector)
    sides = (mosaic.width, mosaic.height, margin)
    objects = merge_windows(found.select(sure), *sides)
    grown = objects.xyxy + np.array([-margin, -margin, margin, margin])
    beside = _within(grown, np.array(gaps).reshape(-1, 4), 0)
    objects = replace(objects, partial=objects.partial | beside)
    doubts = merge_windows(found.select(~sure), *sides)
    return objects, doubts.select(~_within(doubts.xyxy, objects.xyxy, SAME))


def _margin(mosaic: Mosaic, detector: ObjectDetector) -> float:
    return (SEAM if len(mosaic.tiles) > 1 else 1) * detector.margin


def _detect_over_seams(
    mosaic: Mosaic,
    buffers: dict[int, DetectionBuffer],
    detector: ObjectDetector,
    detect_parts: DetectParts,
) -> None:
    """Add what the detector finds where no tile shows an object whole."""
    margin = _margin(mosaic, detector)
    size = mosaic.tiles[0].width, mosaic.tiles[0].height
    sides = mosaic.width, mosaic.height

    parts: list[MosaicPart] = []
    for number in sorted(buffers):
        found = buffers[number].join()
        sure = found.confidence >= PIECE * detector.card.threshold
        objects = merge_windows(found.select(sure), *sides, margin)
        held = rect_index.find_holders(objects.xyxy, mosaic.index, *sides, margin)
        pieces = rect_index.join_pieces(objects.xyxy[held < 0], margin, size)
        again = {rect_index.place_view(box, size, *sides, margin) for box in pieces.tolist()}
        chosen = sorted(again, key=lambda rect: (rect[1], rect[0]))
        parts += [mosaic.take_part(number, rect) for rect in chosen]
    for part, seen in detect_parts(parts):
        view = part.rect
        for plane in [] if isinstance(seen, str) else seen:
            found = plane.found.shift(view[0], view[1])
            # What ends at the edge of such a view is whole elsewhere, and of what lies in a
            # tile that tile's opinion counts: two would be more than one box where they differ.
            clear = rect_index.measure_clearance(found.xyxy, np.array([view]), *sides)[:, 0]
            over = rect_index.find_holders(found.xyxy, mosaic.index, *sides, margin) < 0
            buffers[part.plane].add(found.select(over & (clear > margin)))


def _within(boxes: np.ndarray, others: np.ndarray, share: float) -> np.ndarray:
    """(N,) whether more than a share of each box (N, 4) lies in one of the others (M, 4)."""
    if not len(boxes) or not len(others):
        return np.zeros(len(boxes), bool)
    first, second = find_overlapping(np.concatenate([boxes, others]))
    low, high = np.minimum(first, second), np.maximum(first, second)
    across = (low < len(boxes)) & (high >= len(boxes))
    low, high = low[across], high[across] - len(boxes)
    inner = np.clip(
        np.minimum(boxes[low, 2:], others[high, 2:]) - np.maximum(boxes[low, :2], others[high, :2]),
        0,
        None,
    ).prod(axis=1)
    area = (boxes[low, 2:] - boxes[low, :2]).prod(axis=1)
    same = np.zeros(len(boxes), bool)
    same[low[inner > share * area]] = True
    return same
