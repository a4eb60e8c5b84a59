"""Detecting in the scans of a source: files become scans, scans become results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from ml_backend.imaging.decode import UnreadableImage
from ml_backend.learners.base import ObjectDetector
from tasks.detection.accumulator import FileUnit, ScanAccumulator, Stack
from tasks.detection.background_filter import MEASURED, SQUARE, Background, EmptyWindows
from tasks.detection.ray_executor import ClusterDetector
from tasks.detection.scan_result import ScanResult, merge_scan
from tasks.detection.tile_sampling import TileSampler
from tasks.detection.window_detector import (
    DetectionMemory,
    ItemDetector,
    NoMemory,
    PlaneDetections,
    WindowDetector,
)
from tasks.mosaic.layout import Layout
from tasks.mosaic.mosaic import Mosaic, MosaicPart, PlacedTile, find_gaps, open_planes
from tasks.readers.planes import ScanPlane
from tasks.sources.discover import ScanFiles, Skipped
from tasks.sources.scan_source import ScanSource, SourceOptions

T = TypeVar("T")
Progress = Callable[[float, float], None]

MANY = 200  # parts of a scan that are worth starting workers on a cluster for


class ScanDetector:
    """Detects in all of a source, once.

    Attributes:
        skipped: What was left out so far, and why.
        notes: How the source was understood so far, in words for the user.
        tiles: The planes that were read so far.
        emptied: The windows that showed nothing but background so far.
        pixel_size: µm that a pixel shows, as the user says or the first file; where it is known
            and the version knows its own, it sets the scale at which the detector looks.
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
        self._source = ScanSource(source, options)
        self.skipped: list[Skipped] = self._source.skipped
        self.notes: list[str] = self._source.notes
        self.tiles = 0
        self.emptied = EmptyWindows()
        self.pixel_size = self._source.pixel_size
        if words := describe_scale(detector, self.pixel_size, given=options.pixel_size is not None):
            self.notes.append(words)
        self._detector, self._options = detector.adapt_to(self.pixel_size), options
        self._memory = memory or NoMemory()
        self._cluster = cluster
        self._skip_empty = skip_empty
        self._progress = progress
        self._side = self._detector.side
        self._overlap = self._detector.overlap if overlap is None else overlap
        if not 0 <= self._overlap < self._side:
            raise ValueError(f"--overlap: windows have {self._side} px; share less than that")
        self._layout = Layout(self._source)

    def detect_scans(self) -> Iterator[ScanResult]:
        """Yield what the scans show, in natural order.

        A scan of which nothing could be read is not among them.
        """
        total = sum(len(tile.files) for group in self._source.groups for tile in group.tiles)
        done = 0
        later: list[ScanAccumulator] = []
        detector = self._item_detector(
            self._opening, lambda unit: unit.mark, self._cluster, self._background()
        )
        for unit, seen in detector.detect(self._units()):
            scan = unit.scan
            scan.waiting -= 1
            if isinstance(seen, str):
                self._skip(unit.files[0].name, seen)
                plane = unit.files[0].plane if self._options.depth == "each" else None
                scan.lost.add((unit.field, plane))
            else:
                self._gather(unit, seen)
                self.emptied = sum((plane.emptied for plane in seen), self.emptied)
            if not scan.waiting and scan.tiles and self._cluster:
                later.append(scan)  # its seams are looked at by workers that are busy now
            elif not scan.waiting:
                yield from self._sheets(scan)
            done += len(unit.files)
            self._progress(done, total)
        for scan in later:
            yield from self._sheets(scan)

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

    def _skip(self, source: str, reason: str) -> None:
        self.skipped.append({"source": source, "reason": reason})

    def _background(self) -> Background | None:
        if not self._skip_empty:
            return None
        tiles = TileSampler(self._source, self._side).read_tiles(MEASURED)
        return Background.measure(tiles, max(1, round(SQUARE / self._detector.scale)))

    # Opening.

    def _units(self) -> Iterator[FileUnit]:
        for group in self._source.groups:
            tiles: list[PlacedTile] = []
            if group.placed:
                try:
                    tiles = self._layout.place_tiles(group)
                except UnreadableImage as error:
                    for tile in group.tiles:
                        for file in tile.files:
                            self._skip(file.name, error.reason)
                    continue
            if lacking := _lacking(group, tiles):
                self.notes.append(lacking)
            scan = ScanAccumulator(group, self._source.choose_rendering(group), tiles)
            yield from scan.list_units(self._options.depth != "each")

    def _opening(self, unit: FileUnit) -> Callable[[], list[ScanPlane]]:
        opening = partial(open_planes, unit.files, unit.scan.rendering, self._options.depth)
        # The headers that were read ahead stay here: what goes to a cluster must pickle.
        return opening if self._cluster else partial(opening, self._source.open)

    # Making one scan of it.

    def _gather(self, unit: FileUnit, seen: Sequence[PlaneDetections]) -> None:
        read = 0
        for plane in seen:
            reason = unit.scan.add(unit.field, plane)
            if not reason:
                read += 1
                continue
            which = f"plane {plane.number}: " if len(seen) > 1 and len(unit.files) == 1 else ""
            file = next((file for file in unit.files if file.plane == plane.number), unit.files[0])
            self._skip(file.name, which + reason)
        self.tiles += read
        if not read and self._options.depth != "each":
            unit.scan.lost.add((unit.field, None))

    def _sheets(self, scan: ScanAccumulator) -> Iterator[ScanResult]:
        while scan.stacks:
            number = next(iter(scan.stacks))
            stack = scan.stacks.pop(number)
            if without := scan.find_missing(stack):
                self.notes.append(_not_there(scan.group, without))
            if stack.buffers:
                yield self._sheet(scan, number, stack)

    def _sheet(self, scan: ScanAccumulator, number: int, stack: Stack) -> ScanResult:
        tiles = scan.tiles
        if not tiles:
            assert stack.size is not None
            tiles = [PlacedTile(0, 0, 0, 0, *stack.size, scan.group.tiles[0].files)]
        mosaic = Mosaic(
            scan.group,
            max(tile.x + tile.width for tile in tiles),
            max(tile.y + tile.height for tile in tiles),
            tiles,
            scan.rendering,
            self._options.depth,
            number,
            len(stack.buffers),
            find_gaps(tiles) if scan.tiles else [],
        )
        return merge_scan(
            mosaic, stack.buffers, stack.tiles, stack.list_unread(), self._detector, self._again
        )


def _lacking(group: ScanFiles, tiles: Sequence[PlacedTile]) -> str:
    """In words: places of a grid that have no tile; '' where none is."""
    if not tiles:
        return ""
    rows = 1 + max(tile.row for tile in tiles)
    columns = 1 + max(tile.column for tile in tiles)
    number = rows * columns - len(tiles)
    if not number:
        return ""
    have = "place of its grid has" if number == 1 else "places of its grid have"
    return f"{group.name}: {number} {have} no tile ({rows} rows, {columns} columns)"


def _not_there(group: ScanFiles, planes: set[tuple[int, int]]) -> str:
    """In words: planes (field, plane) that other tiles of the scan have."""
    place, plane = min(planes)
    others = f" and {len(planes) - 1} more" if len(planes) > 1 else ""
    tile = f"{group.tiles[place].name} has no plane {plane}{others}"
    return f"{group.name}: not every tile has all planes: {tile}"


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
