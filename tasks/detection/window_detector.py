"""Detecting in the planes of files, window by window.

Files are opened ahead in threads while the detector works. What was detected can be kept in a
`DetectionMemory`, file by file and of large files window by window, so that who was stopped goes on
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
from ml_backend.imaging.merge_detections import Objects, WindowDetections
from ml_backend.imaging.sliding_windows import InMemoryPlane, Plane, SingleWindow
from ml_backend.learners.model_file import ModelCard
from tasks.detection.background_filter import Background, EmptyWindows, is_spot_check
from tasks.readers.planes import MissingPlane, Rect, ScanPlane

T = TypeVar("T")
R = TypeVar("R")

OPENERS = min(8, os.cpu_count() or 1)
AHEAD = 2 * OPENERS  # opened files that wait at most; one holds up to 48 MB

# Boxes below the threshold are kept from this confidence on: they say what is in doubt.
FLOOR = 0.05

NO_DETECTIONS = WindowDetections(
    np.zeros((0, 4)), np.zeros(0, np.str_), np.zeros(0, np.float32), np.zeros((0, 4), np.int64)
)


@dataclass(frozen=True, slots=True)
class PlaneDetections:
    """What was detected in a plane of a file.

    Attributes:
        number: Of the plane, see `ScanPlane`.
        stack: Of the plane, see `ScanPlane`.
        width: Of the plane, px.
        height: Of the plane, px.
        found: Boxes from FLOOR on, in px of the plane.
        failure: Why not all of it was looked at, in one line; None where it was.
        emptied: Its windows that showed nothing but background.
    """

    number: int
    stack: int
    width: int
    height: int
    found: WindowDetections
    failure: str | None = None
    emptied: EmptyWindows = EmptyWindows()


class DetectionMemory(Protocol):
    """Keeps what was detected in files, by a mark that changes when they do."""

    def recall(self, mark: str) -> list[PlaneDetections] | None:
        """Return what was detected in a file; None where that is not known."""
        ...

    def keep(self, mark: str, seen: list[PlaneDetections]) -> None:
        """Keep what was detected in all of a file."""
        ...

    def recall_windows(self, mark: str) -> dict[tuple[int, Rect], WindowDetections]:
        """Return what is known of a file that was not looked at to its end.

        By the place of the plane in the file, from 0, and the window.
        """
        ...

    def keep_window(self, mark: str, plane: int, view: Rect, found: WindowDetections) -> None:
        """Keep what was detected in a window of a file."""
        ...


class NoMemory:
    """Keeps nothing."""

    def recall(self, mark: str) -> list[PlaneDetections] | None:
        """Return None: nothing is known."""
        return None

    def keep(self, mark: str, seen: list[PlaneDetections]) -> None:
        """Do nothing."""

    def recall_windows(self, mark: str) -> dict[tuple[int, Rect], WindowDetections]:
        """Return nothing."""
        return {}

    def keep_window(self, mark: str, plane: int, view: Rect, found: WindowDetections) -> None:
        """Do nothing."""


class WindowModel(Protocol):
    """What looks at windows: an `ObjectDetector`, or a classifier in the shape of one."""

    @property
    def card(self) -> ModelCard:
        """The card in the version's file."""
        ...

    @property
    def halvings(self) -> int:
        """How often the pixels of a window may be halved before they come here."""
        ...

    def find_objects(
        self, planes: Iterable[Plane], floor: float | None = None
    ) -> Iterator[Objects]:
        """Yield the objects of each plane in order."""
        ...


def detect_windows(
    detector: WindowModel, looks: Iterable[tuple[T, Rect, np.ndarray]]
) -> Iterator[tuple[T, Rect, WindowDetections]]:
    """Detect in windows.

    Args:
        detector: What detects.
        looks: (whose, the window in px of its plane, (H, W, 3) uint8 RGB) of each; the pixels
            may have been halved as often as `detector.halvings`, and may be overwritten when the
            next window is asked for.

    Yields:
        (whose, the window, the boxes there from FLOOR on, in px of the plane) in the same order.
    """
    handed: deque[tuple[T, Rect]] = deque()

    def planes() -> Iterator[Plane]:
        for whose, view, pixels in looks:
            handed.append((whose, view))
            width, height = view[2] - view[0], view[3] - view[1]
            whole = pixels.shape[:2] == (height, width)
            yield InMemoryPlane(pixels) if whole else SingleWindow(width, height, pixels)

    for objects in detector.find_objects(planes(), FLOOR):
        whose, view = handed.popleft()
        offset = np.tile(np.array(view[:2], np.float64), 2)
        everywhere = np.tile(np.array(view), (len(objects), 1))
        yield (
            whose,
            view,
            WindowDetections(objects.xyxy + offset, objects.label, objects.confidence, everywhere),
        )


@dataclass(frozen=True)
class _Opened:
    planes: list[ScanPlane]
    known: dict[tuple[int, Rect], WindowDetections]


@dataclass
class _Plane:
    """A plane whose windows are being answered.

    empty: windows that look so and were handed out all the same.
    """

    plane: ScanPlane
    found: list[WindowDetections] = field(default_factory=list)
    empty: set[Rect] = field(default_factory=set)
    emptied: EmptyWindows = EmptyWindows()


@dataclass
class _Looking(Generic[T]):
    """An item whose windows are being answered."""

    item: T
    planes: list[_Plane] = field(default_factory=list)
    waiting: int = 0
    handed_out: bool = False
    answer: list[PlaneDetections] | str | None = None

    @property
    def done(self) -> bool:
        return self.answer is not None or self.handed_out and not self.waiting


class ItemDetector(Protocol[T]):
    """What detects in items: `WindowDetector` in this process, `ClusterDetector` elsewhere."""

    def detect(self, items: Iterable[T]) -> Iterator[tuple[T, list[PlaneDetections] | str]]:
        """Yield each item in order with what was detected in it, or the reason why nothing was."""
        ...


@dataclass(frozen=True)
class WindowDetector(Generic[T]):
    """Detects in items in this process.

    Attributes:
        detector: What detects in a window.
        memory: Of what was detected before.
        side: Of the windows, px.
        overlap: Of the windows, px.
        opening: What opens an item, or raises UnreadableImage; called from several threads.
        mark: Of an item, for the memory; called from several threads.
        background: Of the scan, where windows that show nothing else are not looked at.
    """

    detector: WindowModel
    memory: DetectionMemory
    side: int
    overlap: int
    opening: Callable[[T], Callable[[], list[ScanPlane]]]
    mark: Callable[[T], str]
    background: Background | None = None

    def detect(self, items: Iterable[T]) -> Iterator[tuple[T, list[PlaneDetections] | str]]:
        """Yield each item in order with what was detected in it, or the reason why nothing was."""
        order: deque[_Looking[T]] = deque()
        halved = self.detector.halvings

        def looks() -> Iterator[tuple[tuple[_Looking[T], int], Rect, np.ndarray]]:
            for item, opened in map_ahead(items, self._open):
                at = _Looking(item)
                order.append(at)
                if not isinstance(opened, _Opened):
                    at.answer = opened
                    continue
                for number, plane in enumerate(opened.planes):
                    of = _Plane(plane)
                    at.planes.append(of)
                    for window in plane.read_windows(self.side, self.overlap, halved):
                        view = (
                            window.left,
                            window.top,
                            min(window.left + window.width, plane.width),
                            min(window.top + window.height, plane.height),
                        )
                        if self.background and self.background.is_empty(
                            window.pixels, window.halved
                        ):
                            if not is_spot_check(f"{self.mark(item)} {number} {view}"):
                                of.emptied += EmptyWindows(skipped=1)
                                continue
                            of.empty.add(view)
                        if (known := opened.known.get((number, view))) is not None:
                            self._add(of, view, known)
                            continue
                        at.waiting += 1
                        yield (at, number), view, window.pixels
                    # Where nothing is handed out, many items wait for the next answer: without
                    # their pixels.
                    read = MissingPlane("", plane.width, plane.height)
                    of.plane = ScanPlane(plane.number, plane.stack, read, plane.failure)
                at.handed_out = True

        for (at, number), view, found in detect_windows(self.detector, looks()):
            self._add(at.planes[number], view, found)
            at.waiting -= 1
            if not at.handed_out or at.waiting:
                self.memory.keep_window(self.mark(at.item), number, view, found)
            while order and order[0].done:
                yield self._answered(order.popleft())
        while order:
            yield self._answered(order.popleft())

    def _add(self, plane: _Plane, view: Rect, found: WindowDetections) -> None:
        plane.found.append(found)
        if view in plane.empty:
            missed = bool((found.confidence >= self.detector.card.threshold).any())
            plane.emptied += EmptyWindows(run=1, missed=int(missed))

    def _open(self, item: T) -> _Opened | list[PlaneDetections] | str:
        mark = self.mark(item)
        if (known := self.memory.recall(mark)) is not None:
            return known
        try:
            return _Opened(self.opening(item)(), self.memory.recall_windows(mark))
        except UnreadableImage as error:
            return error.reason

    def _answered(self, at: _Looking[T]) -> tuple[T, list[PlaneDetections] | str]:
        if at.answer is not None:
            return at.item, at.answer
        seen = [
            PlaneDetections(
                looked.plane.number,
                looked.plane.stack,
                looked.plane.width,
                looked.plane.height,
                WindowDetections.join(looked.found) if looked.found else NO_DETECTIONS,
                looked.plane.failure,
                looked.emptied,
            )
            for looked in at.planes
        ]
        remember_complete(self.memory, self.mark(at.item), seen)
        return at.item, seen


def remember_complete(memory: DetectionMemory, mark: str, seen: list[PlaneDetections]) -> None:
    """Keep what was detected in a file; where not all could be read, it is tried the next time."""
    if all(plane.failure is None for plane in seen):
        memory.keep(mark, seen)


def map_ahead(items: Iterable[T], act: Callable[[T], R]) -> Iterator[tuple[T, R]]:
    """Yield each item in order with act(item), which runs in threads, at most AHEAD items ahead."""
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
