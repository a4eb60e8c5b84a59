"""How far neighbouring tiles lie apart: by metadata, else by what they show together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tasks.mosaic.cross_correlation import MOST, Pair, Step, measure_offset
from tasks.sources.discover import ScanFiles, SourceFile, TileFiles

PAIRS = 12  # of neighbours that are compared, each way


@dataclass(frozen=True)
class TileOffsets:
    """How far neighbouring tiles lie apart.

    Attributes:
        right: From a tile to the next one right of it, (x, y) in px.
        down: From a tile to the next one below it, (x, y) in px.
        words: How that is known, for the user.
    """

    right: Step
    down: Step
    words: str


def compute_offsets(width: int, height: int, overlap: int) -> TileOffsets:
    """Return the offsets of tiles that share so many px each way.

    Args:
        width: Of a tile, px.
        height: Of a tile, px.
        overlap: What neighbours share, px.

    Raises:
        ValueError: The tiles are no larger than that.
    """
    if overlap >= min(width, height):
        raise ValueError(f"--tile-overlap {overlap}: the tiles have only {width} × {height} px")
    return TileOffsets(
        (width - overlap, 0), (0, height - overlap), f"tiles overlap by {overlap} px"
    )


def measure_offsets(
    group: ScanFiles,
    width: int,
    height: int,
    read_grey: Callable[[SourceFile], np.ndarray | None],
    read_stage: Callable[[SourceFile], tuple[float, float] | None],
) -> TileOffsets:
    """Find out the offsets by the files' metadata, else by registration, else the tiles abut.

    Args:
        group: A scan of tiles.
        width: Of a tile, px.
        height: Of a tile, px.
        read_grey: The pixels (H, W) of a tile's file; None where it cannot be read.
        read_stage: Where the stage was, (x, y) in px, by a file's metadata; None where it does
            not say.
    """
    if offsets := _by_metadata(group, width, height, read_stage):
        return offsets
    abut = (width, 0), (0, height)
    shape = height, width
    right = _registered(_pairs(group, 0, 1), read_grey, 1, shape) or abut[0]
    down = _registered(_pairs(group, 1, 0), read_grey, 0, shape) or abut[1]
    across = f"{width - right[0]} px" if right != abut[0] else "nothing"
    below = f"{height - down[1]} px" if down != abut[1] else "nothing"
    if (right, down) == abut:
        words = "tiles abut, as far as they show (--tile-overlap)"
    else:
        words = f"by what they show, tiles share {across} across and {below} down (--tile-overlap)"
    return TileOffsets(right, down, words)


def _pairs(group: ScanFiles, rows: int, columns: int) -> list[tuple[TileFiles, TileFiles]]:
    at = {(tile.row, tile.column): tile for tile in group.tiles}
    pairs = [
        (tile, at[row + rows, column + columns])
        for (row, column), tile in at.items()
        if (row + rows, column + columns) in at
    ]
    step = max(1, len(pairs) // PAIRS)
    return pairs[step // 2 :: step][:PAIRS]


def _registered(
    pairs: Sequence[tuple[TileFiles, TileFiles]],
    read_grey: Callable[[SourceFile], np.ndarray | None],
    axis: int,
    shape: tuple[int, int],
) -> Step | None:
    """From a tile of `shape` (H, W) to the next one along an axis.

    None where they abut, as far as they show.
    """

    def read_pairs() -> Iterator[Pair]:
        for first, second in pairs:
            a, b = map(read_grey, _common(first, second))
            if a is not None and b is not None and a.shape == b.shape == shape:
                yield (a, b) if axis else (a.T, b.T)

    step = measure_offset(read_pairs)
    return step if step is None or axis else (step[1], step[0])


def _common(first: TileFiles, second: TileFiles) -> tuple[SourceFile, SourceFile]:
    """A file of each for the same plane, from the middle of the stack."""
    other = {file.plane: file for file in second.files}
    both = [file for file in first.files if file.plane in other]
    if not both:
        return first.files[0], second.files[0]
    middle = both[len(both) // 2]
    return middle, other[middle.plane]


# By metadata.


def _by_metadata(
    group: ScanFiles,
    width: int,
    height: int,
    read_stage: Callable[[SourceFile], tuple[float, float] | None],
) -> TileOffsets | None:
    """From the stage's positions of a tile and its neighbours, where OME files name them."""
    right, down = _pairs(group, 0, 1)[:1], _pairs(group, 1, 0)[:1]
    steps: list[Step | None] = [None, None]
    for number, pairs in enumerate((right, down)):
        for first, second in pairs:
            a, b = read_stage(first.files[0]), read_stage(second.files[0])
            if a is None or b is None:
                return None
            # A stage may count either way; the names of the files say which tile is where.
            x, y = (round(abs(q - p)) for p, q in zip(a, b, strict=True))
            steps[number] = (x, 0) if number == 0 else (0, y)
    if not right and not down:
        return None
    across, below = steps[0] or (width, 0), steps[1] or (0, height)
    if not (width * MOST <= across[0] and height * MOST <= below[1]):
        return None
    words = f"by their metadata, tiles share {width - across[0]} px across and "
    return TileOffsets(across, below, f"{words}{height - below[1]} px down (--tile-overlap)")
