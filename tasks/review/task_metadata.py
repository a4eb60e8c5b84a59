"""Where a picture for review comes from: the data of its task, and the key that names it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from ml_backend.dataset.small_scans import ScanDivider
from ml_backend.dataset.split import BLOCK, Grid, Place, assign_tile
from ml_backend.settings import Settings
from tasks.mosaic.mosaic import Mosaic
from tasks.readers.open import read_pixel_size
from tasks.readers.planes import Rect
from tasks.review.counting_frames import CountingFrame, lay_counting_frames
from tasks.review.selection import Tile, View, fingerprint, lay_grid
from tasks.sources.discover import SourceFile


@dataclass(frozen=True)
class TaskMetadata:
    """Makes the data of tasks, which say where each picture comes from.

    Attributes:
        settings: Of the data folder, for the shares of the hold-out and of blind tasks.
        pixel_size: In µm; None for what the files say.
        most: The largest side of a tile, px, see `lay_grid`.
        divisions: Which side the parts of a scan are on.
        counting: The tiles are to be counted, so each says where on it a cell counts.
    """

    settings: Settings
    pixel_size: float | None
    most: int
    divisions: ScanDivider
    counting: bool = False
    _sizes: dict[str, Grid] = field(default_factory=dict)
    _frames: dict[str, dict[Rect, CountingFrame]] = field(default_factory=dict)

    def make_task_data(self, view: View, key: str) -> dict[str, Any]:
        """Make the fields of a picture's task, without its image.

        Args:
            view: The picture.
            key: Its name, see `make_view_key`.
        """
        mosaic, tile = view.mosaic, view.tile
        group = mosaic.group
        whole = tile.rect == (0, 0, mosaic.width, mosaic.height)
        # A file without a place is a tile of its folder, which is the scan; its place there is not
        # known. A mosaic or a stack is a scan by itself.
        alone = not group.placed and whole and mosaic.planes == 1
        scan = group.folder if alone else group.name
        row, column = (0, group.number) if alone else (tile.row, tile.column)
        size = (1, group.of) if alone else self._count_tiles(mosaic)
        division = self.divisions.divide(scan, size)
        place = Place(scan, row, column, division.block, tile.rows, tile.columns)
        share = self.settings.holdout_share
        side = division.whole or assign_tile(place, share, grid=size)
        data: dict[str, Any] = {
            "scan": scan,
            "source": group.name,
            "row": row,
            "column": column,
            **({} if division.block == BLOCK else {"block": division.block}),
            **({"down": tile.rows, "across": tile.columns} if tile.stitched else {}),
            "plane": view.plane,
            **({} if alone else {"x": tile.rect[0], "y": tile.rect[1]}),
            "stitched": tile.stitched,
            **side.make_task_data(key, self.settings.blind_share),
            "sampling_p": round(view.probability, 6),
            "sampling_reason": view.reason,
            **({"frame": self._find_frame(view)} if self.counting and not alone else {}),
        }
        microns = self.pixel_size or read_pixel_size(mosaic.tiles[0].files[0].path)
        return data | ({"pixel_size": microns} if microns else {})

    def _find_frame(self, view: View) -> list[float]:
        """Find where on a picture a cell counts, px of it."""
        name = view.mosaic.name
        if name not in self._frames:
            self._frames[name] = lay_counting_frames(lay_grid(view.mosaic, self.most)[0])
        return list(self._frames[name][view.tile.rect])

    def _count_tiles(self, mosaic: Mosaic) -> Grid:
        """Count the rows and columns of the tiles of a scan."""
        if mosaic.name not in self._sizes:
            tiles, _ = lay_grid(mosaic, self.most)
            rows, columns = max(tile.row for tile in tiles), max(tile.column for tile in tiles)
            self._sizes[mosaic.name] = rows + 1, columns + 1
        return self._sizes[mosaic.name]


def make_view_key(view: View) -> str:
    """Make the key of a picture, by what it shows: the same on every machine and at every start."""
    return make_picture_key(view.mosaic, view.plane, view.tile)


def make_picture_key(mosaic: Mosaic, plane: int, tile: Tile) -> str:
    """Make the key of a picture that may be chosen, see `make_view_key`."""
    files = [
        file
        for number in mosaic.find_tiles(tile.rect)
        for file in mosaic.tiles[number].files
        if file.plane in (None, plane) or mosaic.depth != "each"
    ]
    shown = f"{mosaic.depth} {mosaic.rendering.channel}"
    place = f"{plane} {mosaic.stack} {tile.rect}"
    return fingerprint([mosaic.name, shown, place, *map(_hash_content, files)])


@lru_cache(maxsize=100_000)
def _hash_content(file: SourceFile) -> str:
    """Make a name of a file's size, its start and its end, wherever the file lies."""
    try:
        if file.path.is_dir():  # chunks by name and size, which differ wherever the pixels do
            chunks = (path for path in sorted(file.path.rglob("*")) if path.is_file())
            return fingerprint(
                [
                    f"{chunk.relative_to(file.path).as_posix()} {chunk.stat().st_size}"
                    for chunk in chunks
                ]
            )
        with file.path.open("rb") as opened:
            start = opened.read(1 << 16)
            size = opened.seek(0, 2)
            opened.seek(max(0, size - (1 << 16)))
            end = opened.read()
    except OSError:
        return "gone"
    return f"{size} {hashlib.sha256(start + end).hexdigest()}"
