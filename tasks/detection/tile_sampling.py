"""Some tiles of a source, evenly chosen: what is measured on them holds for all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from ml_backend.imaging.decode import UnreadableImage
from tasks.detection.window_detector import ahead
from tasks.mosaic import rect_index
from tasks.mosaic.layout import How, Places
from tasks.mosaic.mosaic import open_planes
from tasks.readers.open import pixel_size
from tasks.readers.planes import Rect, ScanPlane, Showing
from tasks.sources import filename_patterns
from tasks.sources.discover import File, Skipped, look_through


class Sampling:
    """skipped: what was left out so far, and why. pixel_size: as of `finding.Finder`."""

    def __init__(self, source: Path, how: How, side: int) -> None:
        """side: px of the tiles that a larger image is cut into.

        Raises FileNotFoundError, ValueError where there is nothing to look at.
        """
        given = filename_patterns.pattern(how.pattern) if how.pattern else None
        found = look_through(source.absolute(), given, how.channel, apart=how.apart)
        places = Places(found, how)
        self.skipped: list[Skipped] = found.skipped
        first = next((group.spots[0].files[0] for group in found.groups), None)
        self.pixel_size = how.pixel_size or (pixel_size(first.path) if first else None)
        self._side, self._depth = side, how.depth
        self._units: list[tuple[tuple[File, ...], Showing]] = [
            (files, places.showing(group))
            for group in found.groups
            for spot in group.spots
            for files in ([spot.files] if how.depth != "each" else [(f,) for f in spot.files])
        ]

    def tiles(
        self, most: int, wanted: Callable[[int], bool] = lambda number: True
    ) -> Iterator[np.ndarray]:
        """About `most` tiles, or all where there are fewer: (H, W, 3) uint8 RGB.

        wanted: which of them, by their number; the same number is the same tile every time.
        """
        units = [self._units[place] for place in _evenly(len(self._units), most)]
        each = -(-most // max(1, len(units)))
        numbers = {id(unit): range(i * each, (i + 1) * each) for i, unit in enumerate(units)}
        units = [unit for unit in units if any(map(wanted, numbers[id(unit)]))]
        for unit, opened in ahead(units, self._open):
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
                for _, pixels in plane.parts([rect for owner, rect in chosen if owner is plane]):
                    yield pixels
                if plane.failure:
                    self._left_out(files[0].name, plane.failure)

    def _left_out(self, source: str, reason: str) -> None:
        """Once, however often it is looked at."""
        entry: Skipped = {"source": source, "reason": reason}
        if entry not in self.skipped:
            self.skipped.append(entry)

    def _open(self, unit: tuple[tuple[File, ...], Showing]) -> list[ScanPlane] | str:
        try:
            return open_planes(*unit, self._depth)
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
