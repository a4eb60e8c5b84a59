"""A scan as one system of coordinates: its tiles, where they lie, and any part of them."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import cv2
import numpy as np

from ml_backend.imaging.decode import UnreadableImage
from tasks.mosaic.rect_index import RectIndex
from tasks.readers.open import open_scan
from tasks.readers.planes import (
    DecodedPlane,
    MissingPlane,
    PlaneReader,
    Rect,
    Rendering,
    ScanPlane,
    StoredPlane,
)
from tasks.sources.discover import ScanFiles, SourceFile
from tasks.sources.scan_source import Depth, ScanSource

Step = tuple[int, int]

_KEPT = 6  # opened tiles that are kept for the views over their seams
_PEEKED = 9  # tiles that are opened to know the size of all


@dataclass(frozen=True)
class PlacedTile:
    """A tile of a scan: what the microscope saw at one stop, or all of a single file.

    Attributes:
        row: In the grid, from 0.
        column: In the grid, from 0.
        x: Of its left edge in the scan, px.
        y: Of its upper edge in the scan, px.
        width: In px.
        height: In px.
        files: Of its planes.
    """

    row: int
    column: int
    x: int
    y: int
    width: int
    height: int
    files: tuple[SourceFile, ...]

    @property
    def rect(self) -> Rect:
        """Where it lies in the scan, px."""
        return self.x, self.y, self.x + self.width, self.y + self.height


@dataclass
class Mosaic:
    """A scan, or a stack of one, whose pixels are read where they are asked for.

    Attributes:
        group: Its files.
        width: In px.
        height: In px.
        tiles: Where they lie.
        rendering: How their samples are shown.
        depth: Which planes of a stack are shown.
        stack: Of the file's planes.
        planes: How many it has.
        gaps: Where the grid has no tile.
    """

    group: ScanFiles
    width: int
    height: int
    tiles: list[PlacedTile]
    rendering: Rendering
    depth: Depth
    stack: int = 0
    planes: int = 1
    gaps: list[Rect] = field(default_factory=list)
    _kept: OrderedDict[tuple[int, int], ScanPlane] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def name(self) -> str:
        """Of the scan."""
        return self.group.name

    def read_parts(self, plane: int, rects: Sequence[Rect]) -> Iterator[tuple[int, np.ndarray]]:
        """Read parts of a plane, in one pass and in no fixed order.

        What cannot be read is left out; where tiles are missing it is black.

        Args:
            plane: Its number.
            rects: In px of the scan.

        Yields:
            (place in `rects`, pixels (H, W, 3) uint8 RGB) of each.
        """
        if len(self.tiles) == 1:
            yield from self._plane(0, plane).read_parts(rects)
            return
        for number, rect in enumerate(rects):
            under = self.find_tiles(rect)
            pieces = ((self.tiles[number].rect, self._plane(number, plane)) for number in under)
            yield number, _stitched(rect, pieces)

    def find_file(self, plane: int, rect: Rect) -> SourceFile | None:
        """Return the file that shows this part of a plane, nothing else, and in all its colours."""
        under = self.find_tiles(rect)
        if len(under) != 1 or self.rendering.channel is not None:
            return None
        tile = self.tiles[under[0]]
        files = _of_plane(tile.files, plane, self.depth)
        return files[0] if tile.rect == rect and len(files) == 1 else None

    def take_part(self, plane: int, rect: Rect) -> MosaicPart:
        """Return a part of a plane that can be opened without the mosaic, and elsewhere."""
        tiles = [self.tiles[number] for number in self.find_tiles(rect)]
        pieces = tuple((tile.rect, _of_plane(tile.files, plane, self.depth)) for tile in tiles)
        return MosaicPart(plane, rect, pieces, self.rendering, self.depth)

    def find_tiles(self, rect: Rect) -> list[int]:
        """Return the numbers of the tiles that a rectangle shows a part of."""
        return self.index.find_overlapping(rect)

    @cached_property
    def index(self) -> RectIndex:
        """Where the tiles lie."""
        return RectIndex([tile.rect for tile in self.tiles])

    def _plane(self, number: int, plane: int) -> ScanPlane:
        with self._lock:
            if (number, plane) in self._kept:
                self._kept.move_to_end((number, plane))
                return self._kept[number, plane]
        files = _of_plane(self.tiles[number].files, plane, self.depth)
        opened = _opened(files, plane, self.rendering, self.depth)
        with self._lock:
            self._kept[number, plane] = opened
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return opened


@dataclass(frozen=True, slots=True)
class MosaicPart:
    """A part of a plane of a scan, with what it takes to open it.

    Attributes:
        plane: Its number.
        rect: Where it lies in the scan, px.
        pieces: The tiles that it shows a part of, and their files.
        rendering: How their samples are shown.
        depth: Which planes of a stack are shown.
    """

    plane: int
    rect: Rect
    pieces: tuple[tuple[Rect, tuple[SourceFile, ...]], ...]
    rendering: Rendering
    depth: Depth

    def mark(self) -> str:
        """Return what changes when what it shows does."""
        files = [file.mark() for _, files in self.pieces for file in files]
        return "|".join([f"{self.plane} {self.rect} {self.rendering.limits}", *files])

    def open(self) -> list[ScanPlane]:
        """Open it alone, as a plane; where nothing can be read it is black."""
        pieces = (
            (rect, _opened(files, self.plane, self.rendering, self.depth))
            for rect, files in self.pieces
        )
        return [ScanPlane(self.plane, 0, DecodedPlane(_stitched(self.rect, pieces)))]


def _stitched(rect: Rect, pieces: Iterable[tuple[Rect, ScanPlane]]) -> np.ndarray:
    """The pixels of a rectangle, from the tiles under it; black where there are none."""
    left, top, right, bottom = rect
    pixels = np.zeros((bottom - top, right - left, 3), np.uint8)
    for (x1, y1, x2, y2), plane in pieces:
        part = max(left, x1), max(top, y1), min(right, x2), min(bottom, y2)
        inner = part[0] - x1, part[1] - y1, part[2] - x1, part[3] - y1
        for _, found in plane.read_parts([inner]):
            rows, columns = (
                slice(part[1] - top, part[3] - top),
                slice(part[0] - left, part[2] - left),
            )
            pixels[rows, columns] = found
    return pixels


def _of_plane(files: tuple[SourceFile, ...], plane: int, depth: Depth) -> tuple[SourceFile, ...]:
    """Of files that are one plane each, the others need not be opened."""
    if depth != "each" or len(files) == 1:
        return files
    return tuple(file for file in files if file.plane == plane) or files


def _opened(
    files: tuple[SourceFile, ...], plane: int, rendering: Rendering, depth: Depth
) -> ScanPlane:
    try:
        for opened in open_planes(files, rendering, depth):
            if opened.number == plane:
                return opened
    except UnreadableImage as error:
        return ScanPlane(plane, 0, MissingPlane(error.reason))
    return ScanPlane(plane, 0, MissingPlane("there is no such plane"))


def place_tiles(
    group: ScanFiles, size: tuple[int, int], right: Step, down: Step
) -> list[PlacedTile]:
    """Place the tiles of a scan.

    Args:
        group: Its files.
        size: Of a tile, (width, height) px.
        right: From a tile to the next one right of it, (x, y) px.
        down: From a tile to the next one below it, (x, y) px.

    Returns:
        The tiles; the left and upper edges of the scan are at 0.
    """
    places = [
        (tile.column * right[0] + tile.row * down[0], tile.column * right[1] + tile.row * down[1])
        for tile in group.tiles
    ]
    left, top = min(x for x, _ in places), min(y for _, y in places)
    return [
        PlacedTile(tile.row, tile.column, x - left, y - top, *size, tile.files)
        for tile, (x, y) in zip(group.tiles, places, strict=True)
    ]


def find_gaps(tiles: Sequence[PlacedTile]) -> list[Rect]:
    """Return where a grid lacks tiles: about, by the nearest of its row."""
    rows: dict[int, dict[int, PlacedTile]] = {}
    for tile in tiles:
        rows.setdefault(tile.row, {})[tile.column] = tile
    columns = range(max(tile.column for tile in tiles) + 1)
    gaps = []
    for there in rows.values():
        for column in columns:
            if column not in there:
                near = there[min(there, key=lambda other: abs(other - column))]
                x = near.x + (column - near.column) * near.width
                gaps.append((x, near.y, x + near.width, near.y + near.height))
    return gaps


def measure_tile_size(
    group: ScanFiles, rendering: Rendering, source: ScanSource
) -> tuple[int, int]:
    """Return width and height, px, of most tiles of a scan, by some of them.

    Raises:
        UnreadableImage: None of those can be read.
    """
    step = max(1, len(group.tiles) // _PEEKED)
    sizes: Counter[tuple[int, int]] = Counter()
    reason = ""
    for tile in group.tiles[::step]:
        try:
            size = source.examine(tile.files[0], rendering.channel).size
            if size is None:  # what is wrong with it, or how large it is, only decoding says
                plane = source.open_ahead(tile.files[0], rendering)[0]
                size = plane.width, plane.height
            sizes[size] += 1
        except UnreadableImage as error:
            reason = error.reason
    if not sizes:
        raise UnreadableImage(f"none of its tiles can be read ({reason})", group.name)
    return sizes.most_common(1)[0][0]


def _open_file(file: SourceFile, rendering: Rendering) -> list[ScanPlane]:
    return open_scan(file.path, rendering)


def open_planes(
    files: Sequence[SourceFile],
    rendering: Rendering,
    depth: Depth,
    open_file: Callable[[SourceFile, Rendering], list[ScanPlane]] = _open_file,
) -> list[ScanPlane]:
    """Open files that show one place; a file that cannot be read is a plane that cannot.

    Args:
        files: Of the planes of a tile.
        rendering: How their samples are shown.
        depth: Each plane as it is; or all of a stack that can be opened as one, numbered as the
            stack is, and the others.
        open_file: Opens one of them.

    Returns:
        Their planes, numbered by the files' names, else by their pages.

    Raises:
        UnreadableImage: The only file cannot be read.
    """
    planes: list[ScanPlane] = []
    for file in files:
        try:
            opened = open_file(file, rendering)
        except UnreadableImage as error:
            if len(files) == 1:
                raise
            opened = [ScanPlane(0, 0, MissingPlane(error.reason))]
        planes += opened if file.plane is None else _of_one_plane(opened, file.plane)
    if depth == "each":
        return planes
    stacks: dict[int, list[ScanPlane]] = {}
    others: list[ScanPlane] = []
    for plane in planes:
        there = (
            others if isinstance(plane.plane, MissingPlane) else stacks.setdefault(plane.stack, [])
        )
        there.append(plane)
    projections = []
    for stack, members in stacks.items():
        (size, _), *odd = Counter((member.width, member.height) for member in members).most_common()
        if odd:
            others += [
                _odd(member, size) for member in members if (member.width, member.height) != size
            ]
            members = [member for member in members if (member.width, member.height) == size]
        projections.append(ScanPlane(stack, stack, _projected(members, depth)))
    return projections + others


def _odd(plane: ScanPlane, usual: tuple[int, int]) -> ScanPlane:
    sizes = f"{plane.width} × {plane.height} px, where others have {usual[0]} × {usual[1]}"
    return replace(plane, plane=MissingPlane(sizes))


def _of_one_plane(opened: Sequence[ScanPlane], number: int) -> list[ScanPlane]:
    """The planes of a file whose name says which one it is."""
    pages = [page for page in opened if not isinstance(page.plane, MissingPlane)]
    if len(pages) > 1:
        reason = f"by its name it is plane {number}, and it holds {len(pages)} of them"
        return [ScanPlane(number, 0, MissingPlane(reason))]
    return [replace(page, number=number, stack=0) for page in opened]


def _projected(members: Sequence[ScanPlane], depth: Depth) -> StoredPlane:
    """All planes of a stack as one; at once where they are in memory, which it saves."""
    if len(members) == 1:
        return members[0].plane
    projected = ProjectedPlane(tuple(members), depth)
    if all(isinstance(member.plane, DecodedPlane) for member in members):
        return DecodedPlane(projected.reader().rows(0, 0, projected.width, projected.height))
    return projected


@dataclass(frozen=True)
class ProjectedPlane:
    """All planes of a stack, of one size, as one: the brightest of each pixel, or the sharpest.

    Attributes:
        planes: Of the stack.
        depth: max for the brightest, focus for the sharpest.
    """

    planes: tuple[ScanPlane, ...]
    depth: Depth

    @property
    def width(self) -> int:
        """In px."""
        return self.planes[0].width

    @property
    def height(self) -> int:
        """In px."""
        return self.planes[0].height

    def reader(self) -> PlaneReader:
        """Open all planes."""
        readers = [plane.plane.reader() for plane in self.planes]
        combine = _brightest if self.depth == "max" else _sharpest

        def rows(left: int, top: int, right: int, bottom: int) -> np.ndarray:
            return combine(reader.rows(left, top, right, bottom) for reader in readers)

        anywhere = all(reader.anywhere for reader in readers)
        return PlaneReader(self.width, self.height, rows, anywhere)


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
