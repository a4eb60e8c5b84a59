"""How a source is read: where the tiles of its scans lie, and what is black and white there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ml_backend.imaging.decode import UnreadableImage
from tasks.mosaic import tile_offsets
from tasks.mosaic.mosaic import Depth, Field, fields_of, open_planes, usual_size
from tasks.readers.open import common_limits
from tasks.readers.planes import Showing
from tasks.sources.discover import File, Found, Group


@dataclass(frozen=True)
class How:
    """How a source is read. apart: every file by itself, whatever its name says.

    pattern: of the files' names. channel, depth: which planes. tile_overlap: what
    neighbouring tiles share, px; pixel_size: µm that a pixel shows; None: to be found out.
    """

    apart: bool = False
    pattern: str | None = None
    channel: int | None = None
    depth: Depth = "each"
    tile_overlap: int | None = None
    pixel_size: float | None = None


class Places:
    """Of the scans of one source; notes in it how they are known."""

    def __init__(self, source: Found, how: How) -> None:
        self._source, self._how = source, how
        self._shown: dict[str, Showing] = {}

    def fields(self, group: Group) -> list[Field]:
        """The fields of a scan of tiles. Raises UnreadableImage where no tile can be read."""
        showing = self.showing(group)
        width, height = usual_size(group, showing)

        def grey(file: File) -> np.ndarray | None:
            try:
                plane = open_planes([file], showing, "each")[0]
            except UnreadableImage:
                return None
            for _, pixels in plane.parts([(0, 0, plane.width, plane.height)]):
                return pixels.mean(axis=2)
            return None

        if self._how.tile_overlap is not None:
            steps = tile_offsets.given(width, height, self._how.tile_overlap)
        else:
            steps = tile_offsets.found_out(group, width, height, grey)
        self._source.notes.append(f"{group.name}: {steps.words}")
        return fields_of(group, (width, height), steps.right, steps.down)

    def showing(self, group: Group) -> Showing:
        """What is black and white is the same in all files of a folder, which are one scan."""
        if group.folder not in self._shown:
            files = [
                file.path
                for other in self._source.groups
                if other.folder == group.folder
                for spot in other.spots
                for file in spot.files
            ]
            channel = None if group.channelled else self._how.channel
            limits = common_limits(files, channel) if len(files) > 1 else ()
            self._shown[group.folder] = Showing(channel, limits)
        return self._shown[group.folder]
