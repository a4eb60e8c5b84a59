"""Walking a source: files become scans, each of them complete before it is handed on.

What is looked for in the files, objects or classes, is the business of those who walk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from ml_backend.imaging.decode import UnreadableImage
from tasks.detection.accumulator import FileUnit, ScanAccumulator, Stack
from tasks.detection.background_filter import EmptyWindows
from tasks.detection.window_detector import ItemDetector, PlaneDetections
from tasks.mosaic.layout import Layout
from tasks.mosaic.mosaic import Mosaic, PlacedTile, find_gaps, open_planes
from tasks.readers.planes import ScanPlane
from tasks.sources.discover import ScanFiles, Skipped
from tasks.sources.scan_source import ScanSource, SourceOptions

Progress = Callable[[float, float], None]


class ScanWalk:
    """Goes through all files of a source, once.

    Attributes:
        skipped: What was left out so far, and why.
        notes: How the source was understood so far, in words for the user.
        tiles: The planes that were read so far.
        emptied: The windows that showed nothing but background so far.
        pixel_size: µm that a pixel shows, as the user says or the first file.
    """

    def __init__(
        self,
        source: Path,
        options: SourceOptions,
        progress: Progress = lambda done, total: None,
    ) -> None:
        """Examine the source.

        Args:
            source: An image, a scan, or a folder of them.
            options: How the source is read.
            progress: Called with (done, all) files.

        Raises:
            FileNotFoundError: There is no source.
            ValueError: It holds no image, or an option cannot be met.
        """
        self.source = ScanSource(source, options)
        self.skipped: list[Skipped] = self.source.skipped
        self.notes: list[str] = self.source.notes
        self.pixel_size = self.source.pixel_size
        self.tiles = 0
        self.emptied = EmptyWindows()
        self._options, self._progress = options, progress
        self._layout = Layout(self.source)

    def walk(self, detector: ItemDetector[FileUnit]) -> Iterator[ScanAccumulator]:
        """Yield each scan as soon as all its files were looked at, in natural order.

        A scan of which nothing could be read is not among them.

        Args:
            detector: What looks at the files.
        """
        total = sum(len(tile.files) for group in self.source.groups for tile in group.tiles)
        done = 0
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
            if not scan.waiting:
                yield scan
            done += len(unit.files)
            self._progress(done, total)

    def open_unit(
        self, unit: FileUnit, *, elsewhere: bool = False
    ) -> Callable[[], list[ScanPlane]]:
        """Return what opens the planes of a unit.

        Args:
            unit: Of this walk.
            elsewhere: It is opened by another process: the headers that were read ahead stay
                here, because what goes there must pickle.
        """
        opening = partial(open_planes, unit.files, unit.scan.rendering, self._options.depth)
        return opening if elsewhere else partial(opening, self.source.open)

    def take_stacks(self, scan: ScanAccumulator) -> Iterator[tuple[Mosaic, Stack]]:
        """Yield the stacks of a complete scan of which something was read; they are used up."""
        while scan.stacks:
            number = next(iter(scan.stacks))
            stack = scan.stacks.pop(number)
            if without := scan.find_missing(stack):
                self.notes.append(_not_there(scan.group, without))
            if stack.buffers:
                yield self._make_mosaic(scan, number, stack), stack

    def _skip(self, source: str, reason: str) -> None:
        self.skipped.append({"source": source, "reason": reason})

    def _units(self) -> Iterator[FileUnit]:
        for group in self.source.groups:
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
            scan = ScanAccumulator(group, self.source.choose_rendering(group), tiles)
            yield from scan.list_units(self._options.depth != "each")

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

    def _make_mosaic(self, scan: ScanAccumulator, number: int, stack: Stack) -> Mosaic:
        tiles = scan.tiles
        if not tiles:
            assert stack.size is not None
            tiles = [PlacedTile(0, 0, 0, 0, *stack.size, scan.group.tiles[0].files)]
        return Mosaic(
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
