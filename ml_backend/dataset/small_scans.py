"""How a scan that is too small for blocks of 8 × 8 tiles falls on the sides of a split.

Where it is a single block, as a whole, like a sample: no neighbours are on two sides, and no
tile is lost to the buffer. But the first scan of a project would then leave one side empty, or
nearly so: nothing could be judged, or nothing learned. So that one is divided into smaller blocks.

What was decided stands in the tasks, and holds for all of the scan that come later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import isqrt
from typing import Any

from ml_backend.dataset.split import BLOCK, SIDES, Assignment, Grid, Side, place_of

# Tiles: with fewer than four blocks of 8 × 8, one that is held out may be most of the scan.
FEW = 4 * BLOCK**2
# Tiles along a side, below which a block and its buffer leave nothing to train on.
LEAST = 4


@dataclass(frozen=True)
class Division:
    """block: tiles along a side of the scan's blocks. whole: the side of all its tiles, where it
    is not divided and does not fall by its hash."""

    block: int = BLOCK
    whole: Assignment | None = None


def is_small(grid: Grid) -> bool:
    """Whether a scan of so many rows and columns of tiles needs a decision."""
    return grid[0] * grid[1] < FEW


class Divisions:
    """Of the scans of one project. tasks: gives the data of its tasks; asked for once, and only
    where a small scan comes."""

    def __init__(self, tasks: Callable[[], Iterable[Mapping[str, Any]]]) -> None:
        self._tasks = tasks
        self._asked = False
        self._others = False  # tasks that belong to no scan
        self._scans: dict[str, tuple[int, set[Side]]] = {}
        self._made: dict[str, Division] = {}

    def of(self, scan: str, grid: Grid) -> Division:
        """What is done with a scan; the same at every call, and as with its tasks that are
        there already. grid: its rows and columns of tiles."""
        if scan not in self._made:
            self._made[scan] = self._divided(scan, grid) if is_small(grid) else Division()
        return self._made[scan]

    def _divided(self, scan: str, grid: Grid) -> Division:
        self._ask()
        if scan in self._scans:
            block, sides = self._scans[scan]
            if block == BLOCK and max(grid) <= BLOCK and (decided := sides - {"buffer"}):
                reason = "on the side of the rest of its scan"
                return Division(whole=Assignment(min(decided), 1.0, reason))
            return Division(block)
        if self._made or self._scans or self._others:
            return Division()
        if max(grid) < LEAST:
            reason = "for training: the first scan of its project, and too small to be divided"
            return Division(whole=Assignment("train", 1.0, reason))
        return Division(max(2, min(BLOCK, isqrt(grid[0] * grid[1] // 4))))

    def _ask(self) -> None:
        if self._asked:
            return
        for data in self._tasks():
            place = place_of(data)
            if data.get("split") not in SIDES:
                continue
            if place is None:
                self._others = True
            else:
                self._scans.setdefault(place.scan, (place.block, set()))[1].add(data["split"])
        self._asked = True
