"""How far neighbouring tiles lie apart: by the microscope's own word, else by what they show.

Neighbours that overlap show the same strip. Phase correlation (Kuglin and Hines 1975) proposes
the shifts by which it may be; as in MIST (Chalfoun et al. 2017) the one counts for which the
strips agree best. That the tiles abut is one of the ways it may be: then what the one ends with
goes on in the other, as where a single cell lies on the seam and nothing else is there. Pairs
that agree with each other decide for all tiles: a single pair may be misled by an empty field.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

import cv2
import numpy as np
import tifffile

from ml_backend.microns import in_ome
from tasks.sources import File, Group, Spot

PAIRS = 12  # of neighbours that are compared, each way
PEAKS = 4  # of the correlation that are tried
LEAST, MOST = 0.02, 0.5  # of a side that neighbours share
ASIDE = 0.1  # of a side that a row or column may be shifted by
AGREE = 0.5  # correlation of two strips that show the same
CLOSE = 3  # px that two pairs may differ by and still say the same

_COARSE = 12  # px that are left of the shorter side of what all tiles share

Step = tuple[int, int]


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
    right = _registered(_pairs(group, 0, 1), grey, 1) or abut[0]
    down = _registered(_pairs(group, 1, 0), grey, 0) or abut[1]
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
    pairs: Sequence[tuple[Spot, Spot]], grey: Callable[[File], np.ndarray | None], axis: int
) -> Step | None:
    """The shift that most of the pairs agree on; None where there is none."""
    shifts = []
    for first, second in pairs:
        planes = _common(first, second)
        a, b = grey(planes[0]), grey(planes[1])
        if a is None or b is None or a.shape != b.shape:
            continue
        if shift := offset(a, b, axis):
            shifts.append(shift)
    if not shifts:
        return None
    every = np.array(shifts)
    near = (np.abs(every[:, None] - every[None]) <= CLOSE).all(axis=2)
    best = near.sum(axis=1).argmax()
    # One pair may be alone in showing anything; of several, most have to say the same.
    if near[best].sum() * 2 <= len(shifts) or (len(pairs) > 3 and near[best].sum() < 2):
        return None
    x, y = np.median(every[near[best]], axis=0)
    return round(float(x)), round(float(y))


def _common(first: Spot, second: Spot) -> tuple[File, File]:
    """A file of each for the same plane, from the middle of the stack."""
    other = {file.plane: file for file in second.files}
    both = [file for file in first.files if file.plane in other]
    if not both:
        return first.files[0], second.files[0]
    middle = both[len(both) // 2]
    return middle, other[middle.plane]


def offset(a: np.ndarray, b: np.ndarray, axis: int) -> Step | None:
    """Where b lies, (x, y) in px of a, if it overlaps a's right (axis 1) or lower (0) part, or
    goes on where that ends.

    a, b: (H, W) grey values. None where no part of them agrees.
    """
    a, b = _detail(a), _detail(b)
    spectrum = np.fft.rfft2(a) * np.conj(np.fft.rfft2(b))
    correlation = np.fft.irfft2(spectrum / np.maximum(np.abs(spectrum), 1e-9), a.shape)
    # Noise spreads a peak over its neighbours.
    peaks = cv2.GaussianBlur(correlation.astype(np.float32), (0, 0), 1)
    height, width = a.shape
    best: tuple[float, Step] | None = None
    edges = (a[:, -1:], b[:, :1]) if axis else (a[-1:], b[:1])
    if (likeness := _likeness(*edges, 0, 0)) > AGREE:
        best = likeness, (width, 0) if axis else (0, height)
    for _ in range(PEAKS):
        _, _, _, (x, y) = cv2.minMaxLoc(peaks)
        cv2.circle(peaks, (x, y), 5, float(peaks.min()), -1)
        for dx in (x, x - width):
            for dy in (y, y - height):
                along, side = (dx, width) if axis else (dy, height)
                aside, other = (dy, height) if axis else (dx, width)
                shared = side - along
                if not LEAST * side <= shared <= MOST * side or abs(aside) > ASIDE * other:
                    continue
                likeness = _likeness(a, b, dx, dy)
                if likeness > AGREE and (best is None or likeness > best[0]):
                    best = likeness, (dx, dy)
    return None if best is None else best[1]


def _detail(pixels: np.ndarray) -> np.ndarray:
    """Without what all tiles share: the light that falls off towards the edges."""
    grey = pixels.astype(np.float32)
    height, width = grey.shape
    share = _COARSE / min(height, width)
    coarse = cv2.resize(grey, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
    return grey - cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)


def _likeness(a: np.ndarray, b: np.ndarray, dx: int, dy: int) -> float:
    """Correlation, -1..1, of what both show where b lies at (dx, dy) of a."""
    height, width = a.shape
    one = a[max(0, dy) : height + min(0, dy), max(0, dx) : width + min(0, dx)]
    two = b[max(0, -dy) : height + min(0, -dy), max(0, -dx) : width + min(0, -dx)]
    one, two = one - one.mean(), two - two.mean()
    size = float(np.sqrt((one**2).sum() * (two**2).sum()))
    return float((one * two).sum()) / size if size > 0 else 0.0


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
        size = in_ome(pixels, f"PhysicalSize{axis}")
        stage = in_ome(plane, f"Position{axis}")
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
