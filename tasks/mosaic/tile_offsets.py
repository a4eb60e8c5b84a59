"""How far neighbouring tiles lie apart: by the microscope's own word, else by what they show
(`overlap`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

import numpy as np
import tifffile

from ml_backend.imaging.pixel_size import read_ome_length
from tasks.mosaic.cross_correlation import MOST, Pair, Step, offset
from tasks.sources.discover import File, Group, Spot

PAIRS = 12  # of neighbours that are compared, each way


@dataclass(frozen=True)
class Steps:
    """From a tile to the next one right of it and below it, (x, y) in px. words: known how."""

    right: Step
    down: Step
    words: str


def given(width: int, height: int, overlap: int) -> Steps:
    """Of tiles that share so many px each way. Raises ValueError where nothing is left."""
    if overlap >= min(width, height):
        raise ValueError(f"--tile-overlap {overlap}: the tiles have only {width} × {height} px")
    return Steps((width - overlap, 0), (0, height - overlap), f"tiles overlap by {overlap} px")


def found_out(
    group: Group, width: int, height: int, grey: Callable[[File], np.ndarray | None]
) -> Steps:
    """By the files' metadata, else by registration, else the tiles abut.

    grey: the pixels (H, W) of a tile's file, None where it cannot be read.
    """
    if steps := _by_metadata(group, width, height):
        return steps
    abut = (width, 0), (0, height)
    shape = height, width
    right = _registered(_pairs(group, 0, 1), grey, 1, shape) or abut[0]
    down = _registered(_pairs(group, 1, 0), grey, 0, shape) or abut[1]
    across = f"{width - right[0]} px" if right != abut[0] else "nothing"
    below = f"{height - down[1]} px" if down != abut[1] else "nothing"
    if (right, down) == abut:
        words = "tiles abut, as far as they show (--tile-overlap)"
    else:
        words = f"by what they show, tiles share {across} across and {below} down (--tile-overlap)"
    return Steps(right, down, words)


def _pairs(group: Group, rows: int, columns: int) -> list[tuple[Spot, Spot]]:
    at = {(spot.row, spot.column): spot for spot in group.spots}
    pairs = [
        (spot, at[row + rows, column + columns])
        for (row, column), spot in at.items()
        if (row + rows, column + columns) in at
    ]
    step = max(1, len(pairs) // PAIRS)
    return pairs[step // 2 :: step][:PAIRS]


def _registered(
    pairs: Sequence[tuple[Spot, Spot]],
    grey: Callable[[File], np.ndarray | None],
    axis: int,
    shape: tuple[int, int],
) -> Step | None:
    """From a tile of `shape` (H, W) to the next one along an axis; None where they abut, as far
    as they show."""

    def shown() -> Iterator[Pair]:
        for first, second in pairs:
            a, b = map(grey, _common(first, second))
            if a is not None and b is not None and a.shape == b.shape == shape:
                yield (a, b) if axis else (a.T, b.T)

    step = offset(shown)
    return step if step is None or axis else (step[1], step[0])


def _common(first: Spot, second: Spot) -> tuple[File, File]:
    """A file of each for the same plane, from the middle of the stack."""
    other = {file.plane: file for file in second.files}
    both = [file for file in first.files if file.plane in other]
    if not both:
        return first.files[0], second.files[0]
    middle = both[len(both) // 2]
    return middle, other[middle.plane]


# By metadata.


def _by_metadata(group: Group, width: int, height: int) -> Steps | None:
    """From the stage's positions of a tile and its neighbours, where OME files name them."""
    right, down = _pairs(group, 0, 1)[:1], _pairs(group, 1, 0)[:1]
    steps: list[Step | None] = [None, None]
    for number, pairs in enumerate((right, down)):
        for first, second in pairs:
            a, b = position(first.files[0]), position(second.files[0])
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
    return Steps(across, below, f"{words}{height - below[1]} px down (--tile-overlap)")


def position(file: File) -> tuple[float, float] | None:
    """Where the stage was, (x, y) in px, by a file's OME metadata; None where it does not say."""
    pixels = _ome(file)
    plane = None if pixels is None else pixels.find("{*}Plane")
    if pixels is None or plane is None:
        return None
    place = []
    for axis in "XY":
        size = read_ome_length(pixels, f"PhysicalSize{axis}")
        stage = read_ome_length(plane, f"Position{axis}")
        if not size or stage is None:
            return None
        place.append(stage / size)
    return place[0], place[1]


def _ome(file: File) -> ElementTree.Element | None:
    if not file.path.name.lower().endswith((".tif", ".tiff")):
        return None
    try:
        with tifffile.TiffFile(file.path) as opened:
            text = opened.ome_metadata
        return None if not text else ElementTree.fromstring(text).find(".//{*}Pixels")
    except Exception:  # tifffile raises whatever it stumbles over; the tile is read later
        return None
