"""The detections of one scan, gathered plane by plane while its files come.

A scan may have a hundred thousand files; of each nothing is kept but its boxes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ml_backend.imaging.merge_detections import WindowDetections
from tasks.detection.window_detector import NO_DETECTIONS, PlaneDetections
from tasks.mosaic.mosaic import PlacedTile
from tasks.readers.planes import Rendering
from tasks.sources.discover import ScanFiles, SourceFile

LOT = 256  # files whose boxes are kept apart: arrays of few boxes take more than the boxes


@dataclass(frozen=True, slots=True)
class FileUnit:
    """Files that are opened together.

    Attributes:
        scan: Theirs.
        field: The number of their tile in the scan.
        files: Of the planes of the tile, or one of them.
    """

    scan: ScanAccumulator
    field: int
    files: tuple[SourceFile, ...]

    @property
    def mark(self) -> str:
        """What changes when the files do, or how they are shown."""
        return "|".join([str(self.scan.rendering.limits), *(file.mark() for file in self.files)])


class DetectionBuffer:
    """The detections of a plane, which come file by file."""

    def __init__(self) -> None:
        self._joined: list[WindowDetections] = []
        self._new: list[WindowDetections] = []

    def add(self, found: WindowDetections) -> None:
        """Add those of a file, in px of the scan."""
        if len(found.confidence):
            self._new.append(found)
        if len(self._new) == LOT:
            self._joined.append(WindowDetections.join(self._new))
            self._new.clear()

    def join(self) -> WindowDetections:
        """Return all that were added, in their order."""
        return WindowDetections.join([NO_DETECTIONS, *self._joined, *self._new])


@dataclass
class Stack:
    """Planes that show one place at several depths.

    Attributes:
        size: Width and height in px, where the scan is a single file.
        buffers: What they show, by plane.
        read: Which tiles were read, a byte each, by plane.
    """

    size: tuple[int, int] | None = None
    buffers: dict[int, DetectionBuffer] = field(default_factory=dict)
    read: dict[int, bytearray] = field(default_factory=dict)

    @property
    def tiles(self) -> int:
        """How many planes were read, of all tiles."""
        return sum(map(sum, self.read.values()))

    def list_unread(self) -> set[tuple[int, int]]:
        """Return (tile, plane) of those that other tiles have."""
        return {
            (place, plane)
            for plane, tiles in self.read.items()
            for place, there in enumerate(tiles)
            if not there
        }


@dataclass
class ScanAccumulator:
    """A scan whose files come in one after the other.

    Attributes:
        group: Its files.
        rendering: How they are shown.
        tiles: Where they lie; empty for a single file.
        waiting: Files, or stacks of them, that are still to come.
        stacks: What came, by the number of the stack.
        lost: (tile, plane) of what was left out with a reason; no plane where a whole file was.
    """

    group: ScanFiles
    rendering: Rendering
    tiles: list[PlacedTile]
    waiting: int = 0
    stacks: dict[int, Stack] = field(default_factory=dict)
    lost: set[tuple[int, int | None]] = field(default_factory=set)

    def list_units(self, together: bool) -> Iterator[FileUnit]:
        """Yield what is opened at a time: all planes of a tile together, or each file."""
        tiles = self.group.tiles
        self.waiting = len(tiles) if together else sum(len(tile.files) for tile in tiles)
        for number, tile in enumerate(tiles):
            for files in [tile.files] if together else [(file,) for file in tile.files]:
                yield FileUnit(self, number, files)

    def add(self, place: int, seen: PlaneDetections) -> str:
        """Add the detections of a plane of a tile; return the reason where they cannot be used."""
        stack = self.stacks.setdefault(seen.stack, Stack())
        size = seen.width, seen.height
        at = self.tiles[place] if self.tiles else None
        if seen.failure is not None:
            reason = seen.failure
        elif at is not None:
            reason = _differs(size, (at.width, at.height), "the other tiles of the scan")
        else:
            stack.size = stack.size or size
            reason = _differs(size, stack.size, "the other planes of it")
        if reason:
            self.lost.add((place, seen.number))
            return reason
        read = stack.read.setdefault(seen.number, bytearray(max(1, len(self.tiles))))
        read[place] = True
        found = seen.found.shift(at.x, at.y) if at else seen.found
        stack.buffers.setdefault(seen.number, DetectionBuffer()).add(found)
        return ""

    def find_missing(self, stack: Stack) -> set[tuple[int, int]]:
        """Return (tile, plane) of planes that other tiles have and nothing else tells to lack."""
        told = {tile for tile, plane in self.lost if plane is None}
        return {
            (tile, plane) for tile, plane in stack.list_unread() - self.lost if tile not in told
        }


def _differs(size: tuple[int, int], usual: tuple[int, int], others: str) -> str:
    if size == usual:
        return ""
    return f"{size[0]} × {size[1]} px, where {others} have {usual[0]} × {usual[1]}"
