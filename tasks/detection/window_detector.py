"""Looking at the planes of files through a detector, window by window.

Files are opened ahead in threads while the detector works. What was seen can be kept in a
`Memory`, file by file and of large files window by window, so that who was stopped goes on
where he was.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import numpy as np

from ml_backend.imaging.decode import UnreadableImage
from ml_backend.imaging.merge_detections import Found
from ml_backend.imaging.sliding_windows import InMemory, Plane, Shown
from ml_backend.learners.detector.inference import Detector
from tasks.detection.background_filter import Background, Emptied, run_all_the_same
from tasks.readers.planes import Missing, Rect, ScanPlane

T = TypeVar("T")
R = TypeVar("R")

OPENERS = min(8, os.cpu_count() or 1)
AHEAD = 2 * OPENERS  # opened files that wait at most; one holds up to 48 MB

# Boxes below the threshold are kept from this confidence on: they say what is in doubt.
FLOOR = 0.05

NOTHING = Found(
    np.zeros((0, 4)), np.zeros(0, np.str_), np.zeros(0, np.float32), np.zeros((0, 4), np.int64)
)


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen in a plane of a file: boxes from FLOOR on, in px of the plane.

    failure: why not all of it was looked at, where it was not. emptied: of its windows.
    """

    number: int
    stack: int
    width: int
    height: int
    found: Found
    failure: str | None = None
    emptied: Emptied = Emptied()


class Memory(Protocol):
    """Keeps what was seen in files, by a mark that changes when they do.

    windows, keep_window: of files that were not looked at to their end, by the number of the
    plane in the file and the window.
    """

    def recall(self, mark: str) -> list[Seen] | None: ...

    def keep(self, mark: str, seen: list[Seen]) -> None: ...

    def windows(self, mark: str) -> dict[tuple[int, Rect], Found]: ...

    def keep_window(self, mark: str, plane: int, view: Rect, found: Found) -> None: ...


class Forgetful:
    """Keeps nothing."""

    def recall(self, mark: str) -> list[Seen] | None:
        return None

    def keep(self, mark: str, seen: list[Seen]) -> None:
        pass

    def windows(self, mark: str) -> dict[tuple[int, Rect], Found]:
        return {}

    def keep_window(self, mark: str, plane: int, view: Rect, found: Found) -> None:
        pass


def look_at(
    detector: Detector, looks: Iterable[tuple[T, Rect, np.ndarray]]
) -> Iterator[tuple[T, Rect, Found]]:
    """What the detector finds in windows, in order: whose, the window, and the boxes there.

    Boxes are in px of the plane, from FLOOR on. looks: (whose, the window in px of its plane,
    (H, W, 3) uint8 RGB); the pixels may have been halved as often as `detector.halvings`, and
    may be overwritten when the next one is asked for. The one door to the detector: whatever
    runs it elsewhere takes looks and gives these.
    """
    handed: deque[tuple[T, Rect]] = deque()

    def planes() -> Iterator[Plane]:
        for whose, view, pixels in looks:
            handed.append((whose, view))
            width, height = view[2] - view[0], view[3] - view[1]
            whole = pixels.shape[:2] == (height, width)
            yield InMemory(pixels) if whole else Shown(width, height, pixels)

    for objects in detector.objects(planes(), FLOOR):
        whose, view = handed.popleft()
        offset = np.tile(np.array(view[:2], np.float64), 2)
        everywhere = np.tile(np.array(view), (len(objects), 1))
        yield (
            whose,
            view,
            Found(objects.xyxy + offset, objects.label, objects.confidence, everywhere),
        )


@dataclass(frozen=True)
class _Opened:
    planes: list[ScanPlane]
    known: dict[tuple[int, Rect], Found]


@dataclass
class _Plane:
    """A plane whose windows are being answered. empty: those that look so and were handed out."""

    plane: ScanPlane
    found: list[Found] = field(default_factory=list)
    empty: set[Rect] = field(default_factory=set)
    emptied: Emptied = Emptied()


@dataclass
class _Looking(Generic[T]):
    """An item whose windows are being answered."""

    item: T
    planes: list[_Plane] = field(default_factory=list)
    waiting: int = 0
    handed_out: bool = False
    answer: list[Seen] | str | None = None

    @property
    def done(self) -> bool:
        return self.answer is not None or self.handed_out and not self.waiting


class Looks(Protocol[T]):
    """What looks at items: `Looker` in this process, `cluster.ClusterLooker` elsewhere."""

    def seen(self, items: Iterable[T]) -> Iterator[tuple[T, list[Seen] | str]]:
        """Each item in order with what was seen in it, or the reason why nothing was."""
        ...


@dataclass(frozen=True)
class Looker(Generic[T]):
    """side, overlap: of the windows, px. opening: what opens an item, or raises UnreadableImage;
    mark: of an item, for the memory. They may be called from several threads. background: of
    the scan, where windows that show nothing else are not looked at."""

    detector: Detector
    memory: Memory
    side: int
    overlap: int
    opening: Callable[[T], Callable[[], list[ScanPlane]]]
    mark: Callable[[T], str]
    background: Background | None = None

    def seen(self, items: Iterable[T]) -> Iterator[tuple[T, list[Seen] | str]]:
        """Each item in order with what was seen in it, or the reason why nothing was."""
        order: deque[_Looking[T]] = deque()
        halved = self.detector.halvings

        def looks() -> Iterator[tuple[tuple[_Looking[T], int], Rect, np.ndarray]]:
            for item, opened in ahead(items, self._open):
                at = _Looking(item)
                order.append(at)
                if not isinstance(opened, _Opened):
                    at.answer = opened
                    continue
                for number, plane in enumerate(opened.planes):
                    of = _Plane(plane)
                    at.planes.append(of)
                    for window in plane.windows(self.side, self.overlap, halved):
                        view = (
                            window.left,
                            window.top,
                            min(window.left + window.width, plane.width),
                            min(window.top + window.height, plane.height),
                        )
                        if self.background and self.background.empty(window.pixels, window.halved):
                            if not run_all_the_same(f"{self.mark(item)} {number} {view}"):
                                of.emptied += Emptied(skipped=1)
                                continue
                            of.empty.add(view)
                        if (known := opened.known.get((number, view))) is not None:
                            self._add(of, view, known)
                            continue
                        at.waiting += 1
                        yield (at, number), view, window.pixels
                    # Where nothing is handed out, many items wait for the next answer: without
                    # their pixels.
                    read = Missing("", plane.width, plane.height)
                    of.plane = ScanPlane(plane.number, plane.stack, read, plane.failure)
                at.handed_out = True

        for (at, number), view, found in look_at(self.detector, looks()):
            self._add(at.planes[number], view, found)
            at.waiting -= 1
            if not at.handed_out or at.waiting:
                self.memory.keep_window(self.mark(at.item), number, view, found)
            while order and order[0].done:
                yield self._answered(order.popleft())
        while order:
            yield self._answered(order.popleft())

    def _add(self, plane: _Plane, view: Rect, found: Found) -> None:
        plane.found.append(found)
        if view in plane.empty:
            missed = bool((found.confidence >= self.detector.card.threshold).any())
            plane.emptied += Emptied(run=1, missed=int(missed))

    def _open(self, item: T) -> _Opened | list[Seen] | str:
        mark = self.mark(item)
        if (known := self.memory.recall(mark)) is not None:
            return known
        try:
            return _Opened(self.opening(item)(), self.memory.windows(mark))
        except UnreadableImage as error:
            return error.reason

    def _answered(self, at: _Looking[T]) -> tuple[T, list[Seen] | str]:
        if at.answer is not None:
            return at.item, at.answer
        seen = [
            Seen(
                one.plane.number,
                one.plane.stack,
                one.plane.width,
                one.plane.height,
                Found.joined(one.found) if one.found else NOTHING,
                one.plane.failure,
                one.emptied,
            )
            for one in at.planes
        ]
        remember(self.memory, self.mark(at.item), seen)
        return at.item, seen


def remember(memory: Memory, mark: str, seen: list[Seen]) -> None:
    """What could not be read may be read the next time, so it is not kept."""
    if all(one.failure is None for one in seen):
        memory.keep(mark, seen)


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
