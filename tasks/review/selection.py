"""Which parts of a scan deserve a cytologist's eye.

What was found, each object in one picture that shows it whole; what was nearly found; and a
random few of all the others, with the probability that they were chosen by: what was found
alone would never show what the detector misses.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ml_backend.dataset.split import hash_to_unit
from ml_backend.imaging.boxes import Boxes
from ml_backend.imaging.merge_detections import Objects
from ml_backend.learners.base import Prediction
from tasks.detection.scan_result import ScanResult
from tasks.mosaic import rect_index
from tasks.mosaic.mosaic import Mosaic
from tasks.readers.planes import Rect

Send = Literal["review", "found", "all"]

RANDOM = 0.02  # of the tiles where nothing was found or nearly found
NEARLY = 0.5  # of the threshold; boxes as sure as that were nearly found
SHOWN = 0.25  # of an object must lie in a picture for the piece of it to be drawn there
INNER = 2.0  # px that an object lies within a tile that shows it whole

FOUND, NEAR, CHANCE, EVERY = "found", "nearly found", "at random", "all are sent"


@dataclass(frozen=True)
class Tile:
    """A part of a scan that may become a task.

    row, column: of the tile, from 0; of a picture put together from neighbours, of its upper
    left one, and rows, columns how many it shows of. rect: px of the scan.
    """

    row: int
    column: int
    rect: Rect
    rows: int = 1
    columns: int = 1

    @property
    def stitched(self) -> bool:
        return self.rows * self.columns > 1


@dataclass(frozen=True)
class View:
    """A picture to review. boxes: from the floor on, px of it. found: objects that are shown
    whole here and nowhere better. probability, reason: with which and why it was chosen."""

    mosaic: Mosaic
    plane: int
    tile: Tile
    boxes: Boxes
    found: int
    probability: float
    reason: str

    @property
    def width(self) -> int:
        return self.tile.rect[2] - self.tile.rect[0]

    @property
    def height(self) -> int:
        return self.tile.rect[3] - self.tile.rect[1]

    @property
    def prediction(self) -> Prediction:
        """What the detector said of it."""
        return Prediction((self.width, self.height), self.boxes)


def grid(mosaic: Mosaic, most: int) -> tuple[list[Tile], list[int]]:
    """The tiles of a scan, and the field of each.

    A field larger than twice `most` px, whatever way, is cut in equal tiles up to `most`.
    """
    tiles: list[Tile] = []
    fields: list[int] = []
    for number, one in enumerate(mosaic.tiles):
        large = max(one.width, one.height) > 2 * most
        across = rect_index.cut_evenly(one.width, most if large else one.width)
        down = rect_index.cut_evenly(one.height, most if large else one.height)
        for i, (top, bottom) in enumerate(down):
            for j, (left, right) in enumerate(across):
                rect = one.x + left, one.y + top, one.x + right, one.y + bottom
                row, column = one.row * len(down) + i, one.column * len(across) + j
                tiles.append(Tile(row, column, rect))
                fields.append(number)
    return tiles, fields


def to_review(
    sheet: ScanResult,
    send: Send,
    *,
    most: int,
    headline: Sequence[str],
    threshold: float,
    key: Callable[[Mosaic, int, Tile], str],
) -> list[View]:
    """The pictures of a scan to send, in the order of the scan, plane by plane.

    most: as of `grid`. headline: the classes that a picture is sent for. key: names a
    picture; chance goes by it, so it is the same whenever and wherever it is asked.
    """
    mosaic = sheet.mosaic
    tiles, fields = grid(mosaic, most)
    squares = rect_index.RectIndex([tile.rect for tile in tiles])
    sides = mosaic.width, mosaic.height
    chosen: list[View] = []
    wanted = np.isin(sheet.objects.label, list(headline))
    for plane in sheet.planes:
        here = sheet.objects.xyxy[wanted & (sheet.best == plane)]
        owned: dict[Tile, int] = {}
        held = rect_index.find_holders(here, squares, *sides, INNER)
        for box, holder in zip(here.tolist(), held.tolist(), strict=True):
            tile = tiles[holder] if holder >= 0 else _over_seam(box, tiles, squares, mosaic)
            owned[tile] = owned.get(tile, 0) + 1
        doubts = sheet.doubts[plane]
        near = np.isin(doubts.label, list(headline)) & (doubts.confidence >= NEARLY * threshold)
        nearly = _around_middle(doubts.xyxy[near], squares)
        drawn = [
            (objects, rect_index.RectIndex(objects.xyxy, squares.cell))
            for objects in (sheet.drawn[plane], doubts)
        ]
        for number, tile in enumerate(tiles):
            if (fields[number], plane) in sheet.unread:
                owned.pop(tile, None)
            elif tile in owned:
                continue
            elif number in nearly and send == "review":
                chosen.append(_view(sheet, drawn, plane, tile, 0, 1.0, NEAR))
            elif send == "all":
                chosen.append(_view(sheet, drawn, plane, tile, 0, 1.0, EVERY))
            elif send == "review":
                chance = hash_to_unit(f"cytoloop audit/{key(mosaic, plane, tile)}")
                if chance < RANDOM:
                    chosen.append(_view(sheet, drawn, plane, tile, 0, RANDOM, CHANCE))
        chosen += [
            _view(sheet, drawn, plane, tile, count, 1.0, FOUND) for tile, count in owned.items()
        ]
    return sorted(chosen, key=lambda one: (one.tile.rect[1], one.tile.rect[0], one.plane))


def keep_first(
    chosen: Sequence[View], score: Callable[[Sequence[View]], np.ndarray], most: int
) -> list[View]:
    """Keep at most so many pictures: of the random ones their share, of the others the first.

    Args:
        chosen: The pictures that deserve an eye, see `to_review`.
        score: By which strategy the others come first: one number for each, the lowest first.
            The random ones are the first by a hash, and their probability falls with their
            number.
        most: How many pictures are kept at most.

    Returns:
        All pictures as they are, where they are not too many; else the others, the first first,
        and then the random ones.
    """
    if len(chosen) <= most:
        return list(chosen)
    chance = sorted(
        (one for one in chosen if one.reason == CHANCE),
        key=lambda one: hash_to_unit(
            f"cytoloop limit/{one.mosaic.name}/{one.plane}/{one.tile.rect}"
        ),
    )
    others = [view for view in chosen if view.reason != CHANCE]
    first = [others[number] for number in np.argsort(score(others), kind="stable")]
    kept = round(most * len(chance) / len(chosen))
    lower = kept / len(chance) if chance else 1.0
    return first[: most - kept] + [
        replace(one, probability=one.probability * lower) for one in chance[:kept]
    ]


def _over_seam(
    box: list[float], tiles: Sequence[Tile], squares: rect_index.RectIndex, mosaic: Mosaic
) -> Tile:
    """A picture around an object that no tile shows whole."""
    under = [tiles[number] for number in squares.find_overlapping(box)] or [tiles[0]]
    size = (
        max(tile.rect[2] - tile.rect[0] for tile in under),
        max(tile.rect[3] - tile.rect[1] for tile in under),
    )
    rect = rect_index.place_view(box, size, mosaic.width, mosaic.height, INNER)
    shown = [tiles[number] for number in squares.find_overlapping(rect)]
    row, column = min(tile.row for tile in shown), min(tile.column for tile in shown)
    rows = max(tile.row for tile in shown) - row + 1
    columns = max(tile.column for tile in shown) - column + 1
    return Tile(row, column, rect, rows, columns)


def _around_middle(boxes: np.ndarray, squares: rect_index.RectIndex) -> set[int]:
    """The tiles that the middles of boxes lie in; where tiles overlap, all of them."""
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    return {
        number
        for x, y in middle.tolist()
        for number in squares.find_overlapping(
            (x, y, np.nextafter(x, np.inf), np.nextafter(y, np.inf))
        )
    }


def _view(
    sheet: ScanResult,
    drawn: Sequence[tuple[Objects, rect_index.RectIndex]],
    plane: int,
    tile: Tile,
    found: int,
    probability: float,
    reason: str,
) -> View:
    shown = [_shown(objects, squares, tile.rect) for objects, squares in drawn]
    boxes = Boxes(
        np.concatenate([xyxy for xyxy, _, _ in shown]),
        np.concatenate([label for _, label, _ in shown]),
        np.concatenate([confidence for _, _, confidence in shown]),
    )
    return View(sheet.mosaic, plane, tile, boxes, found, probability, reason)


def _shown(
    objects: Objects, squares: rect_index.RectIndex, rect: Rect
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    here = objects.where(np.array(squares.find_overlapping(rect), int))
    xyxy, share = rect_index.clip_to_view(here.xyxy, rect)
    keep = share >= SHOWN
    return xyxy[keep], here.label[keep], here.confidence[keep]


def fingerprint(parts: Sequence[str]) -> str:
    """A short name of all that the parts say."""
    return hashlib.sha256("\n".join(parts).encode("utf-8")).hexdigest()[:20]
