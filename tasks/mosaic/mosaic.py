"""A scan as one system of coordinates: its fields, where they lie, and any part of them.

A field is what the microscope saw at one stop: a tile of a scan, or all of a single file.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import cv2
import numpy as np

from ml_backend.imaging.decode import UnreadableImage
from tasks.mosaic.rect_index import Squares
from tasks.readers.open import open_scan
from tasks.readers.planes import Decoded, Missing, Reader, Rect, ScanPlane, Showing, Stored
from tasks.sources.discover import File, Group

Depth = Literal["each", "max", "focus"]
Step = tuple[int, int]

_KEPT = 6  # opened tiles that are kept for the views over their seams
_PEEKED = 9  # tiles that are opened to know the size of all


@dataclass(frozen=True)
class Field:
    """x, y: its place in the scan, px. files: of its planes."""

    row: int
    column: int
    x: int
    y: int
    width: int
    height: int
    files: tuple[File, ...]

    @property
    def rect(self) -> Rect:
        return self.x, self.y, self.x + self.width, self.y + self.height


@dataclass
class Mosaic:
    """width, height: px. stack: of the file's planes. planes: how many it has. gaps:
    where the grid has no tile."""

    group: Group
    width: int
    height: int
    fields: list[Field]
    showing: Showing
    depth: Depth
    stack: int = 0
    planes: int = 1
    gaps: list[Rect] = field(default_factory=list)
    _kept: OrderedDict[tuple[int, int], ScanPlane] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def name(self) -> str:
        return self.group.name

    def parts(self, plane: int, rects: Sequence[Rect]) -> Iterator[tuple[int, np.ndarray]]:
        """(place in `rects`, pixels) of parts of a plane, in one pass and in no fixed order.

        What cannot be read is left out; where tiles are missing it is black.
        """
        if len(self.fields) == 1:
            yield from self._plane(0, plane).parts(rects)
            return
        for number, rect in enumerate(rects):
            under = self.under(rect)
            pieces = ((self.fields[one].rect, self._plane(one, plane)) for one in under)
            yield number, _stitched(rect, pieces)

    def file(self, plane: int, rect: Rect) -> File | None:
        """The one file that shows this part of a plane, nothing else, and in all its colours."""
        under = self.under(rect)
        if len(under) != 1 or self.showing.channel is not None:
            return None
        field = self.fields[under[0]]
        files = _of_plane(field.files, plane, self.depth)
        return files[0] if field.rect == rect and len(files) == 1 else None

    def part(self, plane: int, rect: Rect) -> Part:
        """A part of a plane that can be opened without the mosaic, and elsewhere."""
        fields = [self.fields[number] for number in self.under(rect)]
        pieces = tuple((one.rect, _of_plane(one.files, plane, self.depth)) for one in fields)
        return Part(plane, rect, pieces, self.showing, self.depth)

    def under(self, rect: Rect) -> list[int]:
        """The fields that a rectangle shows a part of."""
        return self.squares.under(rect)

    @cached_property
    def squares(self) -> Squares:
        """Where the fields lie."""
        return Squares([one.rect for one in self.fields])

    def _plane(self, number: int, plane: int) -> ScanPlane:
        with self._lock:
            if (number, plane) in self._kept:
                self._kept.move_to_end((number, plane))
                return self._kept[number, plane]
        files = _of_plane(self.fields[number].files, plane, self.depth)
        opened = _opened(files, plane, self.showing, self.depth)
        with self._lock:
            self._kept[number, plane] = opened
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return opened


@dataclass(frozen=True, slots=True)
class Part:
    """A rectangle of a plane of a scan, px there, with what it takes to open it.

    pieces: the fields that it shows a part of, and their files.
    """

    plane: int
    rect: Rect
    pieces: tuple[tuple[Rect, tuple[File, ...]], ...]
    showing: Showing
    depth: Depth

    def mark(self) -> str:
        """Changes when what it shows does."""
        files = [file.mark() for _, files in self.pieces for file in files]
        return "|".join([f"{self.plane} {self.rect} {self.showing.limits}", *files])

    def opened(self) -> list[ScanPlane]:
        """It alone, as a plane; where nothing can be read it is black."""
        pieces = (
            (rect, _opened(files, self.plane, self.showing, self.depth))
            for rect, files in self.pieces
        )
        return [ScanPlane(self.plane, 0, Decoded(_stitched(self.rect, pieces)))]


def _stitched(rect: Rect, pieces: Iterable[tuple[Rect, ScanPlane]]) -> np.ndarray:
    """The pixels of a rectangle, from the fields under it; black where there are none."""
    left, top, right, bottom = rect
    pixels = np.zeros((bottom - top, right - left, 3), np.uint8)
    for (x1, y1, x2, y2), plane in pieces:
        part = max(left, x1), max(top, y1), min(right, x2), min(bottom, y2)
        inner = part[0] - x1, part[1] - y1, part[2] - x1, part[3] - y1
        for _, found in plane.parts([inner]):
            rows, columns = (
                slice(part[1] - top, part[3] - top),
                slice(part[0] - left, part[2] - left),
            )
            pixels[rows, columns] = found
    return pixels


def _of_plane(files: tuple[File, ...], plane: int, depth: Depth) -> tuple[File, ...]:
    """Of files that are one plane each, the others need not be opened."""
    if depth != "each" or len(files) == 1:
        return files
    return tuple(file for file in files if file.plane == plane) or files


def _opened(files: tuple[File, ...], plane: int, showing: Showing, depth: Depth) -> ScanPlane:
    try:
        for opened in open_planes(files, showing, depth):
            if opened.number == plane:
                return opened
    except UnreadableImage as error:
        return ScanPlane(plane, 0, Missing(error.reason))
    return ScanPlane(plane, 0, Missing("there is no such plane"))


def fields_of(group: Group, size: tuple[int, int], right: Step, down: Step) -> list[Field]:
    """The fields of a placed scan. size: of a tile, (width, height) px. right, down: from a
    tile to the next one, (x, y) px."""
    places = [
        (spot.column * right[0] + spot.row * down[0], spot.column * right[1] + spot.row * down[1])
        for spot in group.spots
    ]
    left, top = min(x for x, _ in places), min(y for _, y in places)
    return [
        Field(spot.row, spot.column, x - left, y - top, *size, spot.files)
        for spot, (x, y) in zip(group.spots, places, strict=True)
    ]


def gaps_of(fields: Sequence[Field]) -> list[Rect]:
    """Where a grid lacks tiles: about, by the nearest of its row."""
    rows: dict[int, dict[int, Field]] = {}
    for one in fields:
        rows.setdefault(one.row, {})[one.column] = one
    columns = range(max(one.column for one in fields) + 1)
    gaps = []
    for there in rows.values():
        for column in columns:
            if column not in there:
                near = there[min(there, key=lambda other: abs(other - column))]
                x = near.x + (column - near.column) * near.width
                gaps.append((x, near.y, x + near.width, near.y + near.height))
    return gaps


def usual_size(group: Group, showing: Showing) -> tuple[int, int]:
    """Width and height, px, of most tiles of a scan, by some of them.

    Raises UnreadableImage where none of those can be read.
    """
    step = max(1, len(group.spots) // _PEEKED)
    sizes: Counter[tuple[int, int]] = Counter()
    reason = ""
    for spot in group.spots[::step]:
        try:
            plane = open_scan(spot.files[0].path, showing)[0]
            sizes[plane.width, plane.height] += 1
        except UnreadableImage as error:
            reason = error.reason
    if not sizes:
        raise UnreadableImage(f"none of its tiles can be read ({reason})", group.name)
    return sizes.most_common(1)[0][0]


def open_planes(files: Sequence[File], showing: Showing, depth: Depth) -> list[ScanPlane]:
    """The planes of files that show one place, numbered by their names, else by their pages.

    depth: each as it is, or all of a stack that can be opened as one, numbered as the stack is,
    and the others. A file that cannot be read is a plane that cannot be read, unless it is the
    only one. Raises UnreadableImage.
    """
    planes: list[ScanPlane] = []
    for file in files:
        try:
            opened = open_scan(file.path, showing)
        except UnreadableImage as error:
            if len(files) == 1:
                raise
            opened = [ScanPlane(0, 0, Missing(error.reason))]
        planes += opened if file.plane is None else _of_one_plane(opened, file.plane)
    if depth == "each":
        return planes
    stacks: dict[int, list[ScanPlane]] = {}
    others: list[ScanPlane] = []
    for plane in planes:
        there = others if isinstance(plane.plane, Missing) else stacks.setdefault(plane.stack, [])
        there.append(plane)
    projections = []
    for stack, members in stacks.items():
        (size, _), *odd = Counter((one.width, one.height) for one in members).most_common()
        if odd:
            others += [_odd(one, size) for one in members if (one.width, one.height) != size]
            members = [one for one in members if (one.width, one.height) == size]
        projections.append(ScanPlane(stack, stack, _projected(members, depth)))
    return projections + others


def _odd(plane: ScanPlane, usual: tuple[int, int]) -> ScanPlane:
    sizes = f"{plane.width} × {plane.height} px, where others have {usual[0]} × {usual[1]}"
    return replace(plane, plane=Missing(sizes))


def _of_one_plane(opened: Sequence[ScanPlane], number: int) -> list[ScanPlane]:
    """The planes of a file whose name says which one it is."""
    pages = [one for one in opened if not isinstance(one.plane, Missing)]
    if len(pages) > 1:
        reason = f"by its name it is plane {number}, and it holds {len(pages)} of them"
        return [ScanPlane(number, 0, Missing(reason))]
    return [replace(one, number=number, stack=0) for one in opened]


def _projected(members: Sequence[ScanPlane], depth: Depth) -> Stored:
    """All planes of a stack as one; at once where they are in memory, which it saves."""
    if len(members) == 1:
        return members[0].plane
    projected = Projected(tuple(members), depth)
    if all(isinstance(one.plane, Decoded) for one in members):
        return Decoded(projected.reader().rows(0, 0, projected.width, projected.height))
    return projected


@dataclass(frozen=True)
class Projected:
    """All planes of a stack, of one size, as one: the brightest of each pixel, or the sharpest."""

    planes: tuple[ScanPlane, ...]
    depth: Depth

    @property
    def width(self) -> int:
        return self.planes[0].width

    @property
    def height(self) -> int:
        return self.planes[0].height

    def reader(self) -> Reader:
        readers = [one.plane.reader() for one in self.planes]
        combine = _brightest if self.depth == "max" else _sharpest

        def rows(left: int, top: int, right: int, bottom: int) -> np.ndarray:
            return combine(one.rows(left, top, right, bottom) for one in readers)

        anywhere = all(one.anywhere for one in readers)
        return Reader(self.width, self.height, rows, anywhere)


def _brightest(planes: Iterator[np.ndarray]) -> np.ndarray:
    best = next(planes).copy()
    for pixels in planes:
        np.maximum(best, pixels, out=best)
    return best


def _sharpest(planes: Iterator[np.ndarray]) -> np.ndarray:
    """Each pixel from the plane where its neighbourhood has most detail.

    Detail is the energy of the Laplacian, which Nayar and Nakagawa measured focus by
    ('Shape from focus', 1994), over a neighbourhood of some pixels.
    """
    best = most = None
    for pixels in planes:
        grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float32)
        detail = cv2.GaussianBlur(cv2.Laplacian(grey, cv2.CV_32F) ** 2, (0, 0), 4)
        if best is None or most is None:
            best, most = pixels.copy(), detail
        else:
            sharper = detail > most
            best[sharper], most[sharper] = pixels[sharper], detail[sharper]
    assert best is not None
    return best
