"""One object, one box: over the seams between windows, and over the planes of a stack.

Two boxes from two windows are one object where they agree on what both windows saw: each
is clipped to the common part of the windows, and compared there. So a whole box and a piece
of it, two whole copies, and two pieces of an object larger than any window are all the same
case. An object's box is the copy that lies farthest from its window's edges; where no
window saw all of it, it is the frame around the pieces.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import numpy as np

AGREE = 0.5  # intersection over union of two clipped boxes that are one object
INSIDE = 0.5  # share of a cut box that must lie in a whole one of its class to be a piece of it
# The same for two planes: what is out of focus looks larger, here up to half as large again.
AGREE_OVER_PLANES = 0.4

AT_ONCE = 1 << 15  # pairs of boxes that are compared at a time, which takes some 4 MB

Pairs = tuple[np.ndarray, np.ndarray]
T = TypeVar("T")


@dataclass(frozen=True)
class WindowDetections:
    """Boxes as windows showed them, in px of the plane.

    Attributes:
        xyxy: (N, 4) left, top, right, bottom.
        label: (N,) numbers or names.
        confidence: (N,) in 0..1.
        view: (N, 4) left, top, right, bottom of the window in which each was found.
    """

    xyxy: np.ndarray
    label: np.ndarray
    confidence: np.ndarray
    view: np.ndarray

    @classmethod
    def join(cls, parts: Sequence[WindowDetections]) -> WindowDetections:
        """Concatenate at least one part."""
        return cls(
            np.concatenate([part.xyxy for part in parts]),
            np.concatenate([part.label for part in parts]),
            np.concatenate([part.confidence for part in parts]),
            np.concatenate([part.view for part in parts]),
        )

    def select(self, keep: np.ndarray) -> WindowDetections:
        """Return those that a mask or an index array selects."""
        return WindowDetections(
            self.xyxy[keep], self.label[keep], self.confidence[keep], self.view[keep]
        )

    def shift(self, x: int, y: int) -> WindowDetections:
        """Return them in px of what the plane's upper left corner lies in at (x, y)."""
        offset = np.array([x, y, x, y])
        return WindowDetections(self.xyxy + offset, self.label, self.confidence, self.view + offset)


@dataclass(frozen=True)
class Objects:
    """Objects of a plane, the most confident first.

    Attributes:
        xyxy: (N, 4) left, top, right, bottom in px.
        label: (N,) numbers or names.
        confidence: (N,) in 0..1.
        partial: (N,) bool; the object touches the plane's outer edge, or no window saw it whole.
    """

    xyxy: np.ndarray
    label: np.ndarray
    confidence: np.ndarray
    partial: np.ndarray

    def __len__(self) -> int:
        return len(self.xyxy)

    def select(self, keep: np.ndarray | slice) -> Objects:
        """Return those that a mask, an index array or a slice selects."""
        return Objects(self.xyxy[keep], self.label[keep], self.confidence[keep], self.partial[keep])


def merge_windows(found: WindowDetections, width: int, height: int, margin: float) -> Objects:
    """Merge the boxes of a plane's windows, each object once.

    Of one window no two boxes are joined.

    Args:
        found: The boxes.
        width: Of the plane, px.
        height: Of the plane, px.
        margin: A box that ends so close, in px, to where its window ends and the plane goes on
            is cut there.
    """
    clearance = _clearance(found, width, height)
    whole = clearance > margin
    group = _groups(found, whole)
    # In each group the best first: whole, far from the edges, confident.
    order = np.lexsort((-found.confidence, -np.where(whole, clearance, 0), ~whole, group))
    _, starts = np.unique(group[order], return_index=True)
    best = order[starts]
    xyxy = found.xyxy[best]
    if len(order):
        frames = np.concatenate(
            [
                np.minimum.reduceat(found.xyxy[order, :2], starts),
                np.maximum.reduceat(found.xyxy[order, 2:], starts),
            ],
            axis=1,
        )
        xyxy = np.where(whole[best, None], xyxy, frames)
    outer = (xyxy[:, :2] <= margin).any(1) | (xyxy[:, 2:] >= [width - margin, height - margin]).any(
        1
    )
    objects = Objects(xyxy, found.label[best], found.confidence[best], outer | ~whole[best])
    return objects.select(np.lexsort((best, -objects.confidence)))


def merge_planes(planes: Sequence[Objects]) -> tuple[Objects, np.ndarray]:
    """Merge the objects of a stack's planes, each as its best plane shows it.

    The best plane is the one where the object is most confident, of whatever class: what is
    a tetrad in focus may look like a triad out of it.

    Args:
        planes: The objects of each; at least one plane.

    Returns:
        The objects, and (N,) the places of their planes in `planes`.
    """
    every = Objects(
        np.concatenate([plane.xyxy for plane in planes]),
        np.concatenate([plane.label for plane in planes]),
        np.concatenate([plane.confidence for plane in planes]),
        np.concatenate([plane.partial for plane in planes]),
    )
    plane = np.repeat(np.arange(len(planes)), [len(objects) for objects in planes])
    order = np.argsort(-every.confidence, kind="stable")
    every, plane = every.select(order), plane[order]
    if len(planes) == 1:
        return every, plane
    first, second = _pairs(_same_over_planes(every.xyxy, plane))
    first, second = np.minimum(first, second), np.maximum(first, second)
    taken = np.zeros(len(every), bool)
    by_first = np.argsort(first, kind="stable")
    leaders, starts = np.unique(first[by_first], return_index=True)
    followers = second[by_first]
    spans = pairwise([*starts.tolist(), len(followers)])
    for leader, (start, end) in zip(leaders.tolist(), spans, strict=True):
        if not taken[leader]:
            taken[followers[start:end]] = True
    return every.select(~taken), plane[~taken]


def _same_over_planes(xyxy: np.ndarray, plane: np.ndarray) -> Iterator[Pairs]:
    """Pairs of boxes (N, 4) in different planes that agree."""
    for first, second in _overlapping(xyxy):
        apart = plane[first] != plane[second]
        first, second = first[apart], second[apart]
        same = _iou(xyxy[first], xyxy[second]) > AGREE_OVER_PLANES
        yield first[same], second[same]


def find_overlapping(xyxy: np.ndarray) -> Pairs:
    """Find all pairs of boxes (N, 4) that share an area, each pair once, as two index arrays."""
    return _pairs(_overlapping(xyxy))


def _pairs(some: Iterable[Pairs]) -> Pairs:
    none = np.zeros(0, np.intp)
    firsts, seconds = zip((none, none), *some, strict=True)
    return np.concatenate(firsts), np.concatenate(seconds)


def _overlapping(xyxy: np.ndarray) -> Iterator[Pairs]:
    """The pairs of `find_overlapping`, some at a time.

    A spatial hash with a grid for every power of two: a box lies in at most four cells of
    the grid of its own size and of all coarser ones, so the work grows with the boxes and
    the pairs that are near each other, whatever sizes are mixed.
    """
    low, high = xyxy[:, :2].astype(np.float64), xyxy[:, 2:].astype(np.float64)
    level = np.ceil(np.log2(np.maximum((high - low).max(axis=1, initial=1), 1))).astype(int)
    for size in np.unique(level):
        cell = 2.0**size
        owner, cells = _cells(low, high, np.flatnonzero(level <= size), cell)
        rows = cells[:, 1].max() + 2
        key = cells[:, 0] * rows + cells[:, 1]
        large = np.flatnonzero(level[owner] == size)
        large = large[np.argsort(key[large], kind="stable")]
        start = np.searchsorted(key[large], key, "left")
        count = np.searchsorted(key[large], key, "right") - start
        cuts = np.searchsorted(np.cumsum(count), np.arange(AT_ONCE, count.sum(), AT_ONCE))
        for begin, end in pairwise([0, *np.unique(cuts[cuts > 0]).tolist(), len(key)]):
            here = count[begin:end]
            query = np.repeat(np.arange(begin, end), here)
            within = np.arange(len(query)) - np.repeat(np.cumsum(here) - here, here)
            first, second = owner[query], owner[large[start[query] + within]]
            corner = np.maximum(low[first], low[second])
            keep = (
                # Of two of one size the pair is met from both sides.
                ((level[first] < size) | (first < second))
                & (corner < np.minimum(high[first], high[second])).all(axis=1)
                # Of the cells that both lie in, one holds the upper left corner of what they share.
                & (np.floor(corner / cell).astype(np.int64) == cells[query]).all(axis=1)
            )
            yield first[keep], second[keep]


def _cells(
    low: np.ndarray, high: np.ndarray, boxes: np.ndarray, cell: float
) -> tuple[np.ndarray, np.ndarray]:
    """The cells that boxes no larger than a cell lie in: (M,) whose, (M, 2) which."""
    start = np.floor(low[boxes] / cell).astype(np.int64)
    end = np.floor(high[boxes] / cell).astype(np.int64)
    owners, cells = [], []
    for step in ((0, 0), (0, 1), (1, 0), (1, 1)):
        reached = (start + step <= end).all(axis=1)
        owners.append(boxes[reached])
        cells.append((start + step)[reached])
    return np.concatenate(owners), np.concatenate(cells)


def _clearance(found: WindowDetections, width: int, height: int) -> np.ndarray:
    """(N,) px from each box to the nearest edge of its window that runs through the plane."""
    gap = np.concatenate(
        [found.xyxy[:, :2] - found.view[:, :2], found.view[:, 2:] - found.xyxy[:, 2:]], axis=1
    )
    outer = found.view == np.array([0, 0, width, height])
    return np.where(outer, np.inf, gap).min(axis=1, initial=np.inf)


def _groups(found: WindowDetections, whole: np.ndarray) -> np.ndarray:
    """(N,) a number for each box, the same for all boxes of one object."""
    view = found.view
    if not (view[1:] != view[:-1]).any():
        return np.arange(len(view))
    first, second = find_overlapping(found.xyxy)
    apart = (view[first] != view[second]).any(axis=1)
    first, second = first[apart], second[apart]
    low = np.maximum(view[first, :2], view[second, :2])
    high = np.minimum(view[first, 2:], view[second, 2:])
    a = _clipped(found.xyxy[first], low, high)
    b = _clipped(found.xyxy[second], low, high)
    shared, agreement = _shared(a, b), _iou(a, b)
    same = found.label[first] == found.label[second]
    piece = (~whole[first] & whole[second] & (shared > INSIDE * _area(a))) | (
        whole[first] & ~whole[second] & (shared > INSIDE * _area(b))
    )
    match = (agreement > AGREE) | (same & piece)
    first, second = first[match], second[match]
    # The surest pairs first: a neighbour that overlaps comes too late.
    order = np.lexsort((second, first, -agreement[match], ~same[match]))
    pairs = zip(first[order].tolist(), second[order].tolist(), strict=True)
    windows = [*map(tuple, view.tolist())]

    def combine(a: set[tuple[int, ...]], b: set[tuple[int, ...]]) -> set[tuple[int, ...]] | None:
        return a | b if a.isdisjoint(b) else None  # two boxes of one window are two objects

    return group_pairs(len(view), pairs, lambda box: {windows[box]}, combine)[0]


def group_pairs(
    number: int,
    pairs: Iterable[tuple[int, int]],
    describe: Callable[[int], T],
    combine: Callable[[T, T], T | None],
) -> tuple[np.ndarray, dict[int, T]]:
    """Group things by joining pairs in turn, where what the joint group would be is allowed.

    A union-find with path halving. The order of the pairs matters, because a group may refuse
    a later one, so this is more than the connected components of a graph.

    Args:
        number: Of the things.
        pairs: Of things, the surest first.
        describe: What a thing is by itself; true as a bool.
        combine: What two groups are together; None where they may not be joined.

    Returns:
        (N,) for each thing the one that stands for its group; and what the groups of several
        are, by the same.
    """
    owner = list(range(number))
    groups: dict[int, T] = {}

    def find(thing: int) -> int:
        while owner[thing] != thing:
            owner[thing] = owner[owner[thing]]
            thing = owner[thing]
        return thing

    for a, b in pairs:
        a, b = find(a), find(b)
        if a == b:
            continue
        joint = combine(groups.get(a) or describe(a), groups.get(b) or describe(b))
        if joint is not None:
            owner[b] = a
            groups[a] = joint
            groups.pop(b, None)
    return np.array([find(thing) for thing in range(number)], np.intp), groups


def _clipped(xyxy: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    return np.concatenate(
        [np.clip(xyxy[:, :2], low, high), np.clip(xyxy[:, 2:], low, high)], axis=1
    )


def _area(xyxy: np.ndarray) -> np.ndarray:
    return np.clip(xyxy[:, 2:] - xyxy[:, :2], 0, None).prod(axis=1)


def _shared(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The area that each box of a (N, 4) shares with its partner in b (N, 4)."""
    low, high = np.maximum(a[:, :2], b[:, :2]), np.minimum(a[:, 2:], b[:, 2:])
    return np.clip(high - low, 0, None).prod(axis=1)


def _iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    shared = _shared(a, b)
    union = _area(a) + _area(b) - shared
    return np.divide(shared, union, out=np.zeros(len(a), np.float64), where=union > 0)
