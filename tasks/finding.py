"""What a detector finds in the scans of a source: every object once, over all seams.

Files are opened ahead in threads while the detector works; what it looks at is a window of
a plane. What was seen in a file can be kept (`Memory`), so that a scan that was stopped goes
on where it was. Where tiles only abut, an object on the seam is nowhere whole: there the
detector looks once more, at pixels put together from the neighbours.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

from ml_backend.images import UnreadableImage
from ml_backend.learners.detector import EDGE, Detector
from ml_backend.seams import Found, Objects, over_planes, over_windows, overlapping
from ml_backend.windows import InMemory
from tasks import naming, registration, views
from tasks.mosaic import Depth, Field, Mosaic, fields_of, gaps_of, open_planes, usual_size
from tasks.planes import Rect, ScanPlane, Showing
from tasks.scans import common_limits
from tasks.sources import File, Group, Skipped, look_through

T = TypeVar("T")
R = TypeVar("R")

OPENERS = min(8, os.cpu_count() or 1)
AHEAD = 2 * OPENERS  # opened files that wait at most; one holds up to 48 MB

# Boxes below the threshold are kept from this confidence on: they say what is in doubt.
FLOOR = 0.05
# Of the threshold: a piece of an object that is cut by a seam is less sure than all of it.
PIECE = 0.5
# Input px: at the edge of a tile a piece's box may end this far from where it is cut. More
# than at the edge of a window, because here no copy from a neighbouring window shows it.
SEAM = 3 * EDGE
# A box below the threshold that overlaps an object so much is no doubt of its own.
SAME = 0.3

Progress = Callable[[float, float], None]


@dataclass(frozen=True)
class How:
    """How a source is read. apart: every file by itself, whatever its name says.

    pattern: of the files' names. channel, depth: which planes. tile_overlap: what
    neighbouring tiles share, px; None: to be found out.
    """

    apart: bool = False
    pattern: str | None = None
    channel: int | None = None
    depth: Depth = "each"
    tile_overlap: int | None = None


@dataclass(frozen=True)
class Seen:
    """What was seen in a plane of a file: boxes from FLOOR on, in px of the plane.

    failure: why not all of it was looked at, where it was not.
    """

    number: int
    stack: int
    width: int
    height: int
    found: Found
    failure: str | None = None


class Memory(Protocol):
    """Keeps what was seen in files, by what changes when they do."""

    def recall(self, mark: str) -> list[Seen] | None: ...

    def keep(self, mark: str, seen: list[Seen]) -> None: ...


class Forgetful:
    """Keeps nothing."""

    def recall(self, mark: str) -> list[Seen] | None:
        return None

    def keep(self, mark: str, seen: list[Seen]) -> None:
        pass


@dataclass
class Sheet:
    """A scan, or a stack of one, with what was found.

    planes: that were read; tiles: how many of all fields. objects: those from the threshold
    on, each once over seams and planes; best: (N,) the plane of each. drawn, doubts: by plane,
    what a picture of that plane shows from the threshold on and below it. unread: (field,
    plane) that could not be read.
    """

    mosaic: Mosaic
    planes: list[int]
    tiles: int
    objects: Objects
    best: np.ndarray
    drawn: dict[int, Objects]
    doubts: dict[int, Objects]
    unread: set[tuple[int, int]] = field(default_factory=set)


@dataclass
class _Unit:
    """Files that are opened together. field: their place in a placed group."""

    scan: _Scan
    field: int
    files: tuple[File, ...]

    @property
    def mark(self) -> str:
        return "|".join([str(self.scan.showing.limits), *(file.mark() for file in self.files)])


@dataclass
class _Scan:
    """A group whose files are being looked at. lost: field and plane of those that cannot be."""

    group: Group
    showing: Showing
    fields: list[Field]
    waiting: int = 0
    seen: list[tuple[int, Seen]] = field(default_factory=list)
    lost: list[tuple[int, int | None]] = field(default_factory=list)


def look_at(
    detector: Detector, looks: Iterable[tuple[T, Rect, np.ndarray]]
) -> Iterator[tuple[T, Found]]:
    """What the detector finds in windows, in order: boxes from FLOOR on, in px of the plane.

    looks: (whose, the window in px of its plane, (H, W, 3) uint8 RGB); the pixels may be
    overwritten when the next one is asked for. The one door to the detector: whatever runs
    it elsewhere takes looks and gives these.
    """
    handed: deque[tuple[T, Rect]] = deque()

    def planes() -> Iterator[InMemory]:
        for whose, view, pixels in looks:
            handed.append((whose, view))
            yield InMemory(pixels)

    for objects in detector.objects(planes(), FLOOR):
        whose, view = handed.popleft()
        offset = np.tile(np.array(view[:2], np.float64), 2)
        everywhere = np.tile(np.array(view), (len(objects), 1))
        yield whose, Found(objects.xyxy + offset, objects.label, objects.confidence, everywhere)


class Finder:
    """Goes through a source once.

    skipped, notes: what was left out and how the source was understood, so far. tiles: the
    planes that were read, so far. overlap: between the windows that we cut, px.
    """

    def __init__(
        self,
        source: Path,
        detector: Detector,
        how: How,
        *,
        overlap: int | None = None,
        memory: Memory | None = None,
        progress: Progress = lambda done, total: None,
    ) -> None:
        """Raises FileNotFoundError, ValueError where there is nothing to look at."""
        given = naming.pattern(how.pattern) if how.pattern else None
        self._source = look_through(source, given, how.channel, apart=how.apart)
        self.skipped: list[Skipped] = self._source.skipped
        self.notes: list[str] = self._source.notes
        self.tiles = 0
        self._detector, self._how = detector, how
        self._memory = memory or Forgetful()
        self._progress = progress
        self._side = detector.side
        self._overlap = detector.overlap if overlap is None else overlap
        if not 0 <= self._overlap < self._side:
            raise ValueError(f"--overlap: windows have {self._side} px; share less than that")
        self._shown: dict[str, Showing] = {}

    def sheets(self) -> Iterator[Sheet]:
        """What the scans show, in natural order; a scan of which nothing could be read is not
        among them."""
        total = sum(len(spot.files) for group in self._source.groups for spot in group.spots)
        done = 0
        for unit, seen in self._looked_at(self._units()):
            scan = unit.scan
            scan.waiting -= 1
            if isinstance(seen, str):
                self._skip(unit.files[0].name, seen)
                scan.lost.append((unit.field, unit.files[0].plane))
            else:
                scan.seen += [(unit.field, one) for one in seen]
            if not scan.waiting:
                yield from self._sheets(scan)
                scan.seen.clear()
            done += len(unit.files)
            self._progress(done, total)

    def _skip(self, source: str, reason: str) -> None:
        self.skipped.append({"source": source, "reason": reason})

    # Opening and looking.

    def _units(self) -> Iterator[_Unit]:
        for group in self._source.groups:
            fields: list[Field] = []
            if group.placed:
                try:
                    fields = self._placed(group)
                except UnreadableImage as error:
                    for spot in group.spots:
                        for file in spot.files:
                            self._skip(file.name, error.reason)
                    continue
            together = self._how.depth != "each"
            scan = _Scan(group, self._showing(group), fields)
            units = [
                _Unit(scan, number, files)
                for number, spot in enumerate(group.spots)
                for files in ([spot.files] if together else [(file,) for file in spot.files])
            ]
            scan.waiting = len(units)
            yield from units

    def _placed(self, group: Group) -> list[Field]:
        """The fields of a scan of tiles; says how their places are known."""
        showing = self._showing(group)
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
            steps = registration.given(width, height, self._how.tile_overlap)
        else:
            steps = registration.found_out(group, width, height, grey)
        self.notes.append(f"{group.name}: {steps.words}")
        return fields_of(group, (width, height), steps.right, steps.down)

    def _showing(self, group: Group) -> Showing:
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
            limits = common_limits(files, channel) if len(files) > 1 else None
            self._shown[group.folder] = Showing(channel, limits)
        return self._shown[group.folder]

    def _looked_at(self, units: Iterable[_Unit]) -> Iterator[tuple[_Unit, list[Seen] | str]]:
        """Each unit in order with what was seen in it, or the reason why nothing was."""
        order: deque[_Looking] = deque()

        def looks() -> Iterator[tuple[tuple[_Looking, int], Rect, np.ndarray]]:
            for unit, opened in ahead(units, self._open):
                at = _Looking(unit)
                order.append(at)
                if not isinstance(opened, _Opened):
                    at.answer = opened
                    continue
                for number, plane in enumerate(opened.planes):
                    at.planes.append((plane, []))
                    for window in plane.windows(self._side, self._overlap):
                        at.waiting += 1
                        height, width = window.pixels.shape[:2]
                        view = (window.left, window.top, window.left + width, window.top + height)
                        yield (at, number), view, window.pixels
                at.handed_out = True

        for (at, number), found in look_at(self._detector, looks()):
            at.planes[number][1].append(found)
            at.waiting -= 1
            while order and order[0].done:
                yield self._answered(order.popleft())
        while order:
            yield self._answered(order.popleft())

    def _open(self, unit: _Unit) -> _Opened | list[Seen] | str:
        if (known := self._memory.recall(unit.mark)) is not None:
            return known
        try:
            return _Opened(open_planes(unit.files, unit.scan.showing, self._how.depth))
        except UnreadableImage as error:
            return error.reason

    def _answered(self, at: _Looking) -> tuple[_Unit, list[Seen] | str]:
        if at.answer is not None:
            return at.unit, at.answer
        seen = [
            Seen(
                plane.number,
                plane.stack,
                plane.width,
                plane.height,
                Found.joined(found) if found else NOTHING,
                plane.failure,
            )
            for plane, found in at.planes
        ]
        if all(one.failure is None for one in seen):
            self._memory.keep(at.unit.mark, seen)
        return at.unit, seen

    # Making one scan of it.

    def _sheets(self, scan: _Scan) -> Iterator[Sheet]:
        stacks: dict[int, list[tuple[int, Seen]]] = {}
        pages = len({one.number for _, one in scan.seen})
        first: dict[tuple[int, int], Seen] = {}
        for place, one in scan.seen:
            reason = one.failure
            files = scan.group.spots[place].files
            name = next((f.name for f in files if f.plane == one.number), files[0].name)
            if reason is None and scan.fields:
                usual = scan.fields[place]
                if (one.width, one.height) != (usual.width, usual.height):
                    reason = (
                        f"{one.width} × {one.height} px, where the other tiles of the scan have "
                        f"{usual.width} × {usual.height}"
                    )
            if reason is None:
                size = first.setdefault((place, one.stack), one)
                if (one.width, one.height) != (size.width, size.height):
                    reason = (
                        f"{one.width} × {one.height} px, where the other planes of it have "
                        f"{size.width} × {size.height}"
                    )
            if reason is not None:
                which = f"plane {one.number}: " if pages > 1 and len(files) == 1 else ""
                self._skip(name, which + reason)
                one = Seen(one.number, one.stack, one.width, one.height, NOTHING, reason)
            else:
                self.tiles += 1
            stacks.setdefault(one.stack, []).append((place, one))
        for stack, members in stacks.items():
            if any(one.failure is None for _, one in members):
                yield self._sheet(scan, stack, members)

    def _sheet(self, scan: _Scan, stack: int, members: list[tuple[int, Seen]]) -> Sheet:
        read = [(place, one) for place, one in members if one.failure is None]
        fields = scan.fields or [
            Field(0, 0, 0, 0, read[0][1].width, read[0][1].height, scan.group.spots[0].files)
        ]
        mosaic = Mosaic(
            scan.group,
            max(one.x + one.width for one in fields),
            max(one.y + one.height for one in fields),
            fields,
            scan.showing,
            self._how.depth,
            stack,
            len({one.number for _, one in read}),
            gaps_of(fields) if scan.fields else [],
        )
        numbers = {one.number for _, one in read}
        unread = {(place, one.number) for place, one in members if one.failure is not None}
        for place, plane in scan.lost:
            unread |= {(place, number) for number in numbers if plane in (None, number)}
        founds: dict[int, list[Found]] = {}
        for place, one in read:
            at = fields[place]
            shifted = _shifted(one.found, at.x, at.y)
            founds.setdefault(one.number, []).append(shifted)
        if len(fields) > 1:
            self._look_again(mosaic, founds)
        drawn, doubts = {}, {}
        for number in sorted(founds):
            found = Found.joined(founds[number])
            gaps = mosaic.gaps + [fields[i].rect for i, one in unread if one == number]
            drawn[number], doubts[number] = self._objects(found, mosaic, gaps)
        planes = sorted(drawn)
        objects, places = over_planes([drawn[number] for number in planes])
        best = np.array(planes)[places]
        return Sheet(mosaic, planes, len(read), objects, best, drawn, doubts, unread)

    def _objects(self, found: Found, mosaic: Mosaic, gaps: list[Rect]) -> tuple[Objects, Objects]:
        """What is seen in a plane from the threshold on, and what below it.

        gaps: where there are no tiles; what ends there may go on.
        """
        sure = found.confidence >= self._detector.card.threshold
        sides = (mosaic.width, mosaic.height, self._margin(mosaic))
        objects = over_windows(_where(found, sure), *sides)
        margin = np.array([-1, -1, 1, 1]) * self._margin(mosaic)
        beside = _overlap(objects.xyxy + margin, np.array(gaps).reshape(-1, 4), 0)
        objects = replace(objects, partial=objects.partial | beside)
        doubts = over_windows(_where(found, ~sure), *sides)
        return objects, doubts.where(~_overlap(doubts.xyxy, objects.xyxy))

    def _margin(self, mosaic: Mosaic) -> float:
        return (SEAM if len(mosaic.fields) > 1 else EDGE) / self._detector.card.scale

    def _look_again(self, mosaic: Mosaic, founds: dict[int, list[Found]]) -> None:
        """Add what the detector finds where no tile shows an object whole."""
        margin = self._margin(mosaic)
        rects = [one.rect for one in mosaic.fields]
        size = mosaic.fields[0].width, mosaic.fields[0].height
        sides = mosaic.width, mosaic.height

        def looks() -> Iterator[tuple[int, Rect, np.ndarray]]:
            for number in sorted(founds):
                found = Found.joined(founds[number])
                sure = found.confidence >= PIECE * self._detector.card.threshold
                objects = over_windows(_where(found, sure), *sides, margin)
                held = views.holders(objects.xyxy, rects, *sides, margin)
                pieces = views.joined_pieces(objects.xyxy[held < 0], 2 * margin, size)
                again = {views.around(box, size, *sides) for box in pieces.tolist()}
                chosen = sorted(again, key=lambda rect: (rect[1], rect[0]))
                for place, pixels in mosaic.parts(number, chosen):
                    yield number, chosen[place], pixels

        more = [(number, found) for number, found in look_at(self._detector, looks())]
        for number, found in more:
            # What ends at the edge of such a view is whole elsewhere.
            if len(found.xyxy):
                clear = views.clearance(found.xyxy, found.view[:1], *sides)[:, 0]
                founds[number].append(_where(found, clear > margin))


@dataclass(frozen=True)
class _Opened:
    planes: list[ScanPlane]


NOTHING = Found(np.zeros((0, 4)), np.zeros(0, np.str_), np.zeros(0), np.zeros((0, 4)))


@dataclass
class _Looking:
    """A unit whose windows are being answered."""

    unit: _Unit
    planes: list[tuple[ScanPlane, list[Found]]] = field(default_factory=list)
    waiting: int = 0
    handed_out: bool = False
    answer: list[Seen] | str | None = None

    @property
    def done(self) -> bool:
        return self.answer is not None or self.handed_out and not self.waiting


def _shifted(found: Found, x: int, y: int) -> Found:
    offset = np.array([x, y, x, y])
    return Found(found.xyxy + offset, found.label, found.confidence, found.view + offset)


def _where(found: Found, keep: np.ndarray) -> Found:
    return Found(found.xyxy[keep], found.label[keep], found.confidence[keep], found.view[keep])


def _overlap(boxes: np.ndarray, others: np.ndarray, share: float = SAME) -> np.ndarray:
    """(N,) whether more than a share of each box (N, 4) lies in one of the others (M, 4)."""
    first, second = overlapping(np.concatenate([boxes, others]))
    low, high = np.minimum(first, second), np.maximum(first, second)
    across = (low < len(boxes)) & (high >= len(boxes))
    low, high = low[across], high[across] - len(boxes)
    inner = np.clip(
        np.minimum(boxes[low, 2:], others[high, 2:]) - np.maximum(boxes[low, :2], others[high, :2]),
        0,
        None,
    ).prod(axis=1)
    area = (boxes[low, 2:] - boxes[low, :2]).prod(axis=1)
    same = np.zeros(len(boxes), bool)
    same[low[inner > share * area]] = True
    return same


def ahead(items: Iterable[T], act: Callable[[T], R]) -> Iterator[tuple[T, R]]:
    """Each item in order with act(item), which runs in threads, at most AHEAD items ahead."""
    waiting: deque[tuple[T, Future[R]]] = deque()
    rest = iter(items)
    with ThreadPoolExecutor(OPENERS, thread_name_prefix="open") as pool:
        try:
            while True:
                while len(waiting) < AHEAD:
                    try:
                        item = next(rest)
                    except StopIteration:
                        break
                    waiting.append((item, pool.submit(act, item)))
                if not waiting:
                    return
                item, future = waiting.popleft()
                yield item, future.result()
        finally:
            for _, future in waiting:
                future.cancel()
