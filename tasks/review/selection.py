"""Which parts of a scan deserve a cytologist's eye.

What was found, each object in one picture that shows it whole; what was nearly found; and a
random few of all the others, with the probability that they were chosen by: what was found
alone would never show what the detector misses.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
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

Send = Literal["review", "found", "all", "tiles"]

RANDOM = 0.02  # of the tiles where nothing was found or nearly found
NEARLY = 0.5  # of the threshold; boxes as sure as that were nearly found
SHOWN = 0.25  # of an object must lie in a picture for the piece of it to be drawn there
INNER = 2.0  # px that an object lies within a tile that shows it whole

NO_BOXES = Boxes()

FOUND, NEAR, CHANCE, EVERY = "found", "nearly found", "at random", "all are sent"


@dataclass(frozen=True)
class Tile:
    """A part of a scan that may become a task.

    Attributes:
        row: From 0; of a picture put together from neighbours, that of the upper left one.
        column: The same.
        rect: Left, top, right and bottom in px of the scan.
        rows: How many rows of tiles it shows something of.
        columns: How many columns.
    """

    row: int
    column: int
    rect: Rect
    rows: int = 1
    columns: int = 1

    @property
    def stitched(self) -> bool:
        """Whether it is put together from neighbours."""
        return self.rows * self.columns > 1


@dataclass(frozen=True)
class View:
    """A picture to review.

    Attributes:
        mosaic: The scan.
        plane: Of the scan.
        tile: What of it is shown.
        boxes: All that the detector returned there, px of the picture.
        found: How many objects are shown whole here and nowhere better.
        probability: With which it was chosen, 0..1.
        reason: Why it was chosen.
        choices: What a classifier says of it: class → probability, 0..1.
    """

    mosaic: Mosaic
    plane: int
    tile: Tile
    boxes: Boxes
    found: int
    probability: float
    reason: str
    choices: Mapping[str, float] = field(default_factory=dict)

    @property
    def width(self) -> int:
        """Of the picture, px."""
        return self.tile.rect[2] - self.tile.rect[0]

    @property
    def height(self) -> int:
        """Of the picture, px."""
        return self.tile.rect[3] - self.tile.rect[1]

    @property
    def prediction(self) -> Prediction:
        """What the model returned for it."""
        return Prediction((self.width, self.height), self.boxes, self.choices)


def lay_grid(mosaic: Mosaic, most: int) -> tuple[list[Tile], list[int]]:
    """Lay the grid of the tiles that may become tasks over a scan.

    Args:
        mosaic: The scan.
        most: The largest side of a tile, px, see `rect_index.plan_tiles`.

    Returns:
        The tiles, and for each the number of the image that it is a part of.
    """
    tiles: list[Tile] = []
    fields: list[int] = []
    for number, image in enumerate(mosaic.tiles):
        down, across = rect_index.plan_tiles(image.width, image.height, most)
        for i, (top, bottom) in enumerate(down):
            for j, (left, right) in enumerate(across):
                rect = image.x + left, image.y + top, image.x + right, image.y + bottom
                row, column = image.row * len(down) + i, image.column * len(across) + j
                tiles.append(Tile(row, column, rect))
                fields.append(number)
    return tiles, fields


def select_for_review(
    sheet: ScanResult,
    send: Send,
    *,
    most: int,
    headline: Sequence[str],
    threshold: float,
    key: Callable[[Mosaic, int, Tile], str],
) -> list[View]:
    """Select the pictures of a scan that a person should look at.

    Args:
        sheet: What was detected.
        send: "found": what was found; "review": what was nearly found too, and a random few of
            the others; "all": everything; "tiles": each tile once and nothing else, to be counted.
        most: The largest side of a tile, px, see `lay_grid`.
        headline: The classes that a picture is sent for.
        threshold: The confidence, 0..1, from which an object is found.
        key: Names a picture. Chance goes by it, so it is the same on every machine and at every
            start.

    Returns:
        The pictures from top to bottom of the scan, each plane in turn.
    """
    mosaic = sheet.mosaic
    tiles, fields = lay_grid(mosaic, most)
    squares = rect_index.RectIndex([tile.rect for tile in tiles])
    sides = mosaic.width, mosaic.height
    chosen: list[View] = []
    wanted = np.isin(sheet.objects.label, list(headline))
    for plane in sheet.planes:
        here = sheet.objects.xyxy[wanted & (sheet.best == plane)]
        owned: dict[Tile, int] = {}
        held = rect_index.find_holders(here, squares, *sides, INNER)
        for box, holder in zip(here.tolist(), held.tolist(), strict=True):
            if holder < 0 and send == "tiles":
                continue
            tile = tiles[holder] if holder >= 0 else _place_over_seam(box, tiles, squares, mosaic)
            owned[tile] = owned.get(tile, 0) + 1
        doubts = sheet.doubts[plane]
        near = np.isin(doubts.label, list(headline)) & (doubts.confidence >= NEARLY * threshold)
        nearly = _find_under_middles(doubts.xyxy[near], squares)
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
                chosen.append(_make_view(sheet, drawn, plane, tile, 0, 1.0, NEAR))
            elif send in ("all", "tiles"):
                chosen.append(_make_view(sheet, drawn, plane, tile, 0, 1.0, EVERY))
            elif send == "review" and draw_lot(key(mosaic, plane, tile)):
                chosen.append(_make_view(sheet, drawn, plane, tile, 0, RANDOM, CHANCE))
        chosen += [
            _make_view(sheet, drawn, plane, tile, count, 1.0, FOUND)
            for tile, count in owned.items()
        ]
    return sorted(chosen, key=lambda view: (view.tile.rect[1], view.tile.rect[0], view.plane))


def draw_lot(name: str) -> bool:
    """Draw whether a picture is among the random ones, with the chance RANDOM, by its name."""
    return hash_to_unit(f"cytoloop audit/{name}") < RANDOM


def keep_first(
    chosen: Sequence[View], score: Callable[[Sequence[View]], np.ndarray], most: int
) -> list[View]:
    """Keep at most so many pictures: of the random ones their share, of the others the first.

    Args:
        chosen: The pictures that deserve an eye, see `select_for_review`.
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
        (view for view in chosen if view.reason == CHANCE),
        key=lambda view: hash_to_unit(
            f"cytoloop limit/{view.mosaic.name}/{view.plane}/{view.tile.rect}"
        ),
    )
    others = [view for view in chosen if view.reason != CHANCE]
    first = [others[number] for number in np.argsort(score(others), kind="stable")]
    kept = round(most * len(chance) / len(chosen))
    lower = kept / len(chance) if chance else 1.0
    return first[: most - kept] + [
        replace(view, probability=view.probability * lower) for view in chance[:kept]
    ]


def _place_over_seam(
    box: list[float], tiles: Sequence[Tile], squares: rect_index.RectIndex, mosaic: Mosaic
) -> Tile:
    """Place a picture around an object that no tile shows whole."""
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


def _find_under_middles(boxes: np.ndarray, squares: rect_index.RectIndex) -> set[int]:
    """Find the tiles that the middles of boxes lie in; where tiles overlap, all of them."""
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    return {
        number
        for x, y in middle.tolist()
        for number in squares.find_overlapping(
            (x, y, np.nextafter(x, np.inf), np.nextafter(y, np.inf))
        )
    }


def _make_view(
    sheet: ScanResult,
    drawn: Sequence[tuple[Objects, rect_index.RectIndex]],
    plane: int,
    tile: Tile,
    found: int,
    probability: float,
    reason: str,
) -> View:
    shown = [_cut_out(objects, squares, tile.rect) for objects, squares in drawn]
    boxes = Boxes(
        np.concatenate([xyxy for xyxy, _, _ in shown]),
        np.concatenate([label for _, label, _ in shown]),
        np.concatenate([confidence for _, _, confidence in shown]),
    )
    return View(sheet.mosaic, plane, tile, boxes, found, probability, reason)


def _cut_out(
    objects: Objects, squares: rect_index.RectIndex, rect: Rect
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    here = objects.select(np.array(squares.find_overlapping(rect), int))
    xyxy, share = rect_index.clip_to_view(here.xyxy, rect)
    keep = share >= SHOWN
    return xyxy[keep], here.label[keep], here.confidence[keep]


def fingerprint(parts: Sequence[str]) -> str:
    """Make a short name of texts: 20 hex digits of their SHA-256."""
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:20]
