"""Detecting in the scans of a source: files become scans, scans become results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from ml_backend.learners.base import ObjectDetector
from tasks.detection.accumulator import ScanAccumulator
from tasks.detection.background_filter import MEASURED, SQUARE, Background
from tasks.detection.ray_executor import ClusterDetector
from tasks.detection.scan_result import ScanResult, merge_scan
from tasks.detection.scan_walk import Progress, ScanWalk
from tasks.detection.tile_sampling import TileSampler
from tasks.detection.window_detector import (
    DetectionMemory,
    ItemDetector,
    NoMemory,
    PlaneDetections,
    WindowDetector,
)
from tasks.mosaic.mosaic import MosaicPart
from tasks.readers.planes import ScanPlane
from tasks.sources.scan_source import SourceOptions

T = TypeVar("T")

MANY = 200  # parts of a scan that are worth starting workers on a cluster for


class ScanDetector(ScanWalk):
    """Detects in all of a source, once.

    `pixel_size`, where it is known and the version knows its own, sets the scale at which the
    detector looks.
    """

    def __init__(
        self,
        source: Path,
        detector: ObjectDetector,
        options: SourceOptions,
        *,
        overlap: int | None = None,
        memory: DetectionMemory | None = None,
        cluster: Path | None = None,
        skip_empty: bool = False,
        progress: Progress = lambda done, total: None,
    ) -> None:
        """Examine the source.

        Args:
            source: An image, a scan, or a folder of them.
            detector: What detects.
            options: How the source is read.
            overlap: What the windows of a large image share, px; else by the objects' size.
            memory: Of what was detected before; else nothing is remembered.
            cluster: The folder of the detector's version, where a Ray cluster does the work.
            skip_empty: Whether windows of nothing but background are not looked at.
            progress: Called with (done, all) files.

        Raises:
            FileNotFoundError: There is no source.
            ValueError: It holds no image, or an option cannot be met.
        """
        super().__init__(source, options, progress)
        if words := describe_scale(detector, self.pixel_size, given=options.pixel_size is not None):
            self.notes.append(words)
        self._detector = detector.adapt_to(self.pixel_size)
        self._memory = memory or NoMemory()
        self._cluster = cluster
        self._skip_empty = skip_empty
        self._side = self._detector.side
        self._overlap = self._detector.overlap if overlap is None else overlap
        if not 0 <= self._overlap < self._side:
            raise ValueError(f"--overlap: windows have {self._side} px; share less than that")

    def detect_scans(self) -> Iterator[ScanResult]:
        """Yield what the scans show, in natural order.

        A scan of which nothing could be read is not among them.
        """
        later: list[ScanAccumulator] = []
        opening = partial(self.open_unit, elsewhere=self._cluster is not None)
        detector = self._item_detector(
            opening, lambda unit: unit.mark, self._cluster, self._background()
        )
        for scan in self.walk(detector):
            if scan.tiles and self._cluster:
                later.append(scan)  # its seams are looked at by workers that are busy now
            else:
                yield from self._merge(scan)
        for scan in later:
            yield from self._merge(scan)

    def _merge(self, scan: ScanAccumulator) -> Iterator[ScanResult]:
        for mosaic, stack in self.take_stacks(scan):
            yield merge_scan(
                mosaic, stack.buffers, stack.tiles, stack.list_unread(), self._detector, self._again
            )

    def _item_detector(
        self,
        opening: Callable[[T], Callable[[], list[ScanPlane]]],
        mark: Callable[[T], str],
        cluster: Path | None,
        background: Background | None = None,
    ) -> ItemDetector[T]:
        looks = (self._memory, self._side, self._overlap, opening, mark, background)
        if cluster is None:
            return WindowDetector(self._detector, *looks)
        return ClusterDetector(cluster, self.pixel_size, *looks)

    def _again(
        self, parts: Sequence[MosaicPart]
    ) -> Iterator[tuple[MosaicPart, list[PlaneDetections] | str]]:
        cluster = self._cluster if len(parts) >= MANY else None
        return self._item_detector(lambda part: part.open, MosaicPart.mark, cluster).detect(parts)

    def _background(self) -> Background | None:
        if not self._skip_empty:
            return None
        tiles = TileSampler(self.source, self._side).read_tiles(MEASURED)
        return Background.measure(tiles, max(1, round(SQUARE / self._detector.scale)))


def describe_scale(detector: ObjectDetector, pixel_size: float | None, *, given: bool) -> str:
    """Say what a pixel size means for the scale at which a detector looks.

    Args:
        detector: What detects.
        pixel_size: µm that a pixel shows, None where that is not known.
        given: By the user, not by metadata.

    Returns:
        One line; empty where nothing is known.

    Raises:
        ValueError: What is given cannot be true.
    """
    card = detector.card
    if pixel_size is None or (card.input_um is None and not given):
        return ""
    size = f"{pixel_size:g} µm a pixel"
    if card.input_um is None:
        return f"{size}: no influence on the scale, because the version does not know its own"
    learned = f"the version learned from images of {card.input_um * card.scale:.3g}"
    scale = detector.adapt_to(pixel_size).scale
    if scale == pixel_size / card.input_um:
        return f"{size}, {learned}: looked at at {scale / card.scale:.3g} times its usual scale"
    if given:
        raise ValueError(f"--pixel-size: {size} cannot be true, {learned}")
    return f"{size}, by the metadata, cannot be true, {learned}: looked at at its usual scale"
