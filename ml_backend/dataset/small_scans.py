"""How a scan that is too small for blocks of 8 × 8 tiles is split.

A scan that is a single block goes to one side as a whole, like a sample: no neighbours are on two
sides, and no tile is lost to the buffer. But the first scan of a project would then leave one side
empty, or nearly so: nothing could be judged, or nothing learned. So that one is divided into
smaller blocks.

The decision is written in the tasks, and holds for all tasks of the scan that come later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import isqrt
from typing import Any

from ml_backend.dataset.split import BLOCK, SIDES, Assignment, Grid, Side, read_place

# Tiles: with fewer than four blocks of 8 × 8, one that is held out may be most of the scan.
FEW = 4 * BLOCK**2
# Tiles along a side; with fewer, a block and its buffer leave nothing to train on.
LEAST = 4


@dataclass(frozen=True)
class Division:
    """How a scan is divided.

    Attributes:
        block: Tiles along a side of the scan's blocks.
        whole: The side of all its tiles; None where its blocks are assigned by their hashes.
    """

    block: int = BLOCK
    whole: Assignment | None = None


def is_small(grid: Grid) -> bool:
    """Tell whether a scan of so many rows and columns of tiles needs a decision."""
    return grid[0] * grid[1] < FEW


class ScanDivider:
    """Decides how the scans of one project are divided."""

    def __init__(self, tasks: Callable[[], Iterable[Mapping[str, Any]]]) -> None:
        """Take the project's tasks.

        Args:
            tasks: Gives the data of the project's tasks; called once, and only where a small
                scan comes.
        """
        self._tasks = tasks
        self._is_read = False
        self._others = False  # tasks that belong to no scan
        self._scans: dict[str, tuple[int, set[Side]]] = {}
        self._made: dict[str, Division] = {}

    def divide(self, scan: str, grid: Grid) -> Division:
        """Decide how a scan is divided.

        Args:
            scan: Its name.
            grid: Its rows and columns of tiles.

        Returns:
            The same at every call, and what holds for its tasks that are there already.
        """
        if scan not in self._made:
            self._made[scan] = self._decide(scan, grid) if is_small(grid) else Division()
        return self._made[scan]

    def _decide(self, scan: str, grid: Grid) -> Division:
        self._read_tasks()
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

    def _read_tasks(self) -> None:
        if self._is_read:
            return
        for data in self._tasks():
            place = read_place(data)
            if data.get("split") not in SIDES:
                continue
            if place is None:
                self._others = True
            else:
                self._scans.setdefault(place.scan, (place.block, set()))[1].add(data["split"])
        self._is_read = True
