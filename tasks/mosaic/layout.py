"""Where the tiles of a source's scans lie."""

from __future__ import annotations

import numpy as np

from ml_backend.imaging.decode import UnreadableImage
from tasks.mosaic import tile_offsets
from tasks.mosaic.mosaic import PlacedTile, measure_tile_size, place_tiles
from tasks.sources.discover import ScanFiles, SourceFile
from tasks.sources.scan_source import ScanSource


class Layout:
    """Places the tiles of the scans of one source; how they are known goes into its notes."""

    def __init__(self, source: ScanSource) -> None:
        """Take the source; nothing of it is read yet."""
        self._source = source

    def place_tiles(self, group: ScanFiles) -> list[PlacedTile]:
        """Find out where the tiles of a scan lie, by the options, their metadata or pixels.

        Args:
            group: Whose files are placed by row and column.

        Raises:
            UnreadableImage: No tile can be read.
            ValueError: The tiles are no larger than the overlap that was given.
        """
        source = self._source
        rendering = source.choose_rendering(group)
        width, height = measure_tile_size(group, rendering, source)

        def read_grey(file: SourceFile) -> np.ndarray | None:
            try:
                plane = source.open_ahead(file, rendering)[0]
            except UnreadableImage:
                return None
            for _, pixels in plane.read_parts([(0, 0, plane.width, plane.height)]):
                return pixels.mean(axis=2)
            return None

        def read_stage(file: SourceFile) -> tuple[float, float] | None:
            return source.examine(file, rendering.channel).stage_position

        overlap = source.options.tile_overlap
        if overlap is not None:
            offsets = tile_offsets.compute_offsets(width, height, overlap)
        else:
            offsets = tile_offsets.measure_offsets(group, width, height, read_grey, read_stage)
        source.notes.append(f"{group.name}: {offsets.words}")
        return place_tiles(group, (width, height), offsets.right, offsets.down)
