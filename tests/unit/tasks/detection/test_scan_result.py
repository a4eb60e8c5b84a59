"""An object over a seam is one object, and nothing is found twice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_backend.imaging.merge_detections import WindowDetections
from ml_backend.learners.detector.inference import Detector
from ml_backend.learners.model_file import ModelCard
from tasks.detection.accumulator import DetectionBuffer
from tasks.detection.scan_result import ScanResult, merge_scan
from tasks.detection.window_detector import PlaneDetections
from tasks.mosaic.mosaic import Mosaic, MosaicPart, PlacedTile
from tasks.readers.planes import Rendering
from tasks.sources.discover import ScanFiles, SourceFile, TileFiles
from tests.blobs import Blobs

CARD = ModelCard("yolov5n", ("Cell",), ("Cell",), 1.0, 0.3)
DETECTOR = Detector(CARD, Blobs())
SIDE = 200
SCAN = np.array([0, 0, 2 * SIDE, SIDE], float)


def make_mosaic() -> Mosaic:
    files = (SourceFile(Path(), "a.png"),)
    tiles = [PlacedTile(0, column, column * SIDE, 0, SIDE, SIDE, files) for column in (0, 1)]
    spots = tuple(TileFiles(0, column, files) for column in (0, 1))
    group = ScanFiles("slide", "slide", True, spots)
    return Mosaic(group, 2 * SIDE, SIDE, tiles, Rendering(), "each")


def show(boxes: np.ndarray, view: np.ndarray, confidence: float) -> WindowDetections:
    """What a detector that makes no error finds of the boxes in a view, in px of the scan."""
    clipped = np.clip(boxes, np.tile(view[:2], 2), np.tile(view[2:], 2))
    there = ((clipped[:, 2:] - clipped[:, :2]) > 1).all(axis=1)
    number = int(there.sum())
    return WindowDetections(
        clipped[there],
        np.array(["Cell"] * number, np.str_),
        np.full(number, confidence, np.float32),
        np.tile(view.astype(np.int64), (number, 1)),
    )


def merge(boxes: np.ndarray, confidence: float = 0.8) -> ScanResult:
    mosaic = make_mosaic()
    buffer = DetectionBuffer()
    for tile in mosaic.tiles:
        buffer.add(show(boxes, np.array(tile.rect, float), confidence))

    def detect_parts(
        parts: Sequence[MosaicPart],
    ) -> Iterable[tuple[MosaicPart, list[PlaneDetections] | str]]:
        for part in parts:
            view = np.array(part.rect, float)
            found = show(boxes, view, confidence).shift(-part.rect[0], -part.rect[1])
            yield part, [PlaneDetections(0, 0, 0, 0, found)]

    return merge_scan(mosaic, {0: buffer}, 2, set(), DETECTOR, detect_parts)


@settings(max_examples=60, deadline=None)
@given(
    left=st.lists(st.integers(0, 350), min_size=1, max_size=4),
    width=st.integers(16, 48),
    height=st.integers(16, 30),
)
def test_every_object_is_found_once_over_the_seam(left: list[int], width: int, height: int) -> None:
    # One below the other, so that no two are taken for one.
    boxes = np.array(
        [(x, 48 * row + 4, x + width, 48 * row + 4 + height) for row, x in enumerate(left)], float
    )
    result = merge(boxes)
    assert len(result.objects) == len(boxes) and result.planes == [0]
    order = np.argsort(result.objects.xyxy[:, 1])
    np.testing.assert_allclose(result.objects.xyxy[order], boxes, atol=1)
    assert result.best.tolist() == [0] * len(boxes)
    assert not len(result.doubts[0])


def test_what_is_below_the_threshold_is_a_doubt() -> None:
    result = merge(np.array([[20, 20, 50, 50]], float), confidence=0.2)
    assert not len(result.objects) and not len(result.drawn[0])
    np.testing.assert_allclose(result.doubts[0].xyxy, [[20, 20, 50, 50]])


def test_an_object_at_the_edge_of_the_scan_is_partial() -> None:
    result = merge(np.array([[0, 20, 30, 50], [60, 80, 90, 110]], float))
    partial = dict(zip(result.objects.xyxy[:, 0].tolist(), result.objects.partial, strict=True))
    assert partial == {0.0: True, 60.0: False}
