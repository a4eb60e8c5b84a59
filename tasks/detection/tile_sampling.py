"""Some tiles of a source, evenly chosen: what is measured on them holds for all."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from ml_backend.imaging.decode import UnreadableImage
from tasks.detection.window_detector import map_ahead
from tasks.mosaic import rect_index
from tasks.mosaic.mosaic import open_planes
from tasks.readers.planes import Rect, ScanPlane
from tasks.sources.discover import ScanFiles, Skipped, SourceFile
from tasks.sources.scan_source import ScanSource


class TileSampler:
    """Reads some tiles of a source.

    Attributes:
        skipped: What could not be read so far, and why.
    """

    def __init__(self, source: ScanSource, side: int) -> None:
        """Take a source; nothing of it is read yet.

        Args:
            source: Whose tiles are sampled.
            side: Of the tiles that a larger image is cut into, px.
        """
        self.skipped: list[Skipped] = []
        self._source, self._side = source, side
        self._depth = source.options.depth
        self._units: list[tuple[tuple[SourceFile, ...], ScanFiles]] = [
            (files, group)
            for group in source.groups
            for tile in group.tiles
            for files in (
                [tile.files] if self._depth != "each" else [(file,) for file in tile.files]
            )
        ]

    def read_tiles(
        self, most: int, wanted: Callable[[int], bool] = lambda number: True
    ) -> Iterator[np.ndarray]:
        """Read about `most` tiles, or all where there are fewer.

        Args:
            most: Of the tiles.
            wanted: Which of them, by their number; the same number is the same tile every time.

        Yields:
            (H, W, 3) uint8 RGB.
        """
        units = [self._units[place] for place in _evenly(len(self._units), most)]
        each = -(-most // max(1, len(units)))
        numbers = {id(unit): range(i * each, (i + 1) * each) for i, unit in enumerate(units)}
        units = [unit for unit in units if any(map(wanted, numbers[id(unit)]))]
        for unit, opened in map_ahead(units, self._open):
            files = unit[0]
            if isinstance(opened, str):
                self._left_out(files[0].name, opened)
                continue
            every = [(plane, rect) for plane in opened for rect in self._cut(plane)]
            chosen = [
                every[place]
                for number, place in zip(numbers[id(unit)], _evenly(len(every), each), strict=False)
                if wanted(number)
            ]
            for plane in opened:
                for _, pixels in plane.read_parts(
                    [rect for owner, rect in chosen if owner is plane]
                ):
                    yield pixels
                if plane.failure:
                    self._left_out(files[0].name, plane.failure)

    def _left_out(self, source: str, reason: str) -> None:
        """Once, however often it is looked at."""
        entry: Skipped = {"source": source, "reason": reason}
        if entry not in self.skipped:
            self.skipped.append(entry)

    def _open(self, unit: tuple[tuple[SourceFile, ...], ScanFiles]) -> list[ScanPlane] | str:
        files, group = unit
        rendering = self._source.choose_rendering(group)
        try:
            return open_planes(files, rendering, self._depth, self._source.open_ahead)
        except UnreadableImage as error:
            return error.reason

    def _cut(self, plane: ScanPlane) -> list[Rect]:
        """An image that is larger than twice the side is cut, as the tasks of a scan are."""
        large = max(plane.width, plane.height) > 2 * self._side
        most = self._side if large else max(plane.width, plane.height)
        return [
            (left, top, right, bottom)
            for top, bottom in rect_index.cut_evenly(plane.height, most)
            for left, right in rect_index.cut_evenly(plane.width, most)
        ]


def _evenly(number: int, most: int) -> list[int]:
    """Up to `most` of the places 0..number-1, equally far apart."""
    return sorted({int(place) for place in np.linspace(0, number - 1, min(number, most)).round()})
