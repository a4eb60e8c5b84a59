"""Which tasks are kept apart for judging, decided before anything is drawn on them.

A group (a sample, a slide, a scan) falls on one side by a hash of its name, so the
decision is the same on every machine and cannot depend on who reviews what first. A scan
is too few groups for that: its tiles fall by blocks of 8 × 8, with a buffer of one tile
between the sides, because neighbours share their cells, their stain and their focus.

Once a task carries its side in its data, that is the truth.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

# buffer: reviewed like any other, but neither trained on nor judged with.
Side = Literal["train", "holdout", "buffer"]
SIDES: tuple[Side, ...] = ("train", "holdout", "buffer")

# In this order: the first field that a task's data has names its group.
GROUP_FIELDS = ("scan", "sample", "slide")

# Tiles along a side of a block, and the tiles between a block that trains and one that judges.
BLOCK, BUFFER = 8, 1

Grid = tuple[int, int]
Place = tuple[str, int, int]


@dataclass(frozen=True)
class Assignment:
    """side: where the task belongs. probability: with which it got there. reason: in words."""

    side: Side
    probability: float
    reason: str

    def task_data(self, key: str = "", blind_share: float = 0.0) -> dict[str, Any]:
        """The fields that a task carries from its creation on.

        key: what is the task's own, such as the hash of its image. blind_share (0..1) of the
        held-out tasks, by a hash of the key, are shown without a pre-annotation.
        """
        blind = self.side == "holdout" and unit_hash(f"cytoloop blind/{key}") < blind_share
        return {
            "split": self.side,
            "sampling_p": round(self.probability, 6),
            "sampling_reason": f"{self.reason}; {_BLIND}" if blind else self.reason,
            "blind": blind,
        }


_BLIND = "shown without boxes, so that what it judges did not draw them"


def unit_hash(text: str) -> float:
    """A number in [0, 1) that is uniform over texts and the same on every machine."""
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _of_group(group: str) -> float:
    """The group's number, held out where it is below the share."""
    return unit_hash(f"cytoloop split/{group}")


def assign(group: str, share: float) -> Assignment:
    """The side of one group; `share` (0..1) of all groups is held out."""
    if _of_group(group) < share:
        return Assignment("holdout", share, "held out for judging, by its group")
    return Assignment("train", 1 - share, "for training, by its group")


def assign_all(groups: Iterable[str], share: float) -> dict[str, Assignment]:
    """The side of every group of a new project.

    As `assign`, but never all on one side: of a few samples the hash might hold out
    none, and nothing could be judged, or all, and nothing could be learned. Then the
    group with the lowest hash is held out, the others are trained on. A single group
    stays together, in training: split it by its files instead.
    """
    names = sorted(set(groups), key=_of_group)
    sides = {group: assign(group, share) for group in names}
    if share > 0 and len(names) > 1 and len({a.side for a in sides.values()}) == 1:
        reason = "by its group, the first of few in the order of their hashes"
        p = 1 / len(names)
        sides = {group: Assignment("train", 1 - p, f"for training, {reason}") for group in names}
        sides[names[0]] = Assignment("holdout", p, f"held out for judging, {reason}")
    return sides


def assign_tile(
    scan: str,
    row: int,
    column: int,
    share: float,
    *,
    grid: Grid | None = None,
    height: int = 1,
    width: int = 1,
) -> Assignment:
    """The side of a tile of a scan, by its block and the blocks beside it.

    row, column: from 0; of tiles without a place, row 0 and the number of the tile in
    order. All planes of a place go together. share: of the blocks, 0..1, held out.
    grid: rows and columns of the scan, where they are known: then a scan of two blocks
    or more has both sides, as in `assign_all`.
    height, width: how many tiles the task's image shows from there on; an image stitched
    from tiles of different sides is buffer.

    The buffer is taken from the training side: held-out tiles are the rarer ones.
    """
    blocks = _Blocks.of(scan, share, grid)
    shown = product(range(row, row + height), range(column, column + width))
    own = {_block(*place) for place in shown}
    near = product(
        range(row - BUFFER, row + height + BUFFER), range(column - BUFFER, column + width + BUFFER)
    )
    beside = {_block(*place) for place in near if _inside(place, grid)} - own
    held = {blocks.held_out(block) for block in own}
    if held == {True}:
        return Assignment("holdout", blocks.share, "held out for judging, by its block of the scan")
    free = (1 - blocks.share) ** len(own | beside)
    if held == {False} and not any(blocks.held_out(block) for block in beside):
        return Assignment("train", free, "for training, by its block of the scan")
    reason = "at the edge of a held-out block: neither trains nor judges"
    return Assignment("buffer", 1 - free - blocks.share ** len(own), reason)


def _inside(place: tuple[int, int], grid: Grid | None) -> bool:
    row, column = place
    return row >= 0 <= column and (grid is None or (row < grid[0] and column < grid[1]))


def _block(row: int, column: int) -> Grid:
    return row // BLOCK, column // BLOCK


@dataclass(frozen=True)
class _Blocks:
    """share: of the scan's blocks that is held out; only: the one, where that is one of few."""

    scan: str
    share: float
    only: Grid | None

    @classmethod
    @lru_cache(maxsize=1024)
    def of(cls, scan: str, share: float, grid: Grid | None) -> _Blocks:
        plain = cls(scan, share, None)
        if grid is None or share == 0:
            return plain
        rows, columns = (-(-tiles // BLOCK) for tiles in grid)
        places = list(product(range(rows), range(columns)))
        if len(places) < 2 or len({plain.held_out(place) for place in places}) > 1:
            return plain
        return cls(scan, 1 / len(places), min(places, key=plain.number))

    def held_out(self, block: Grid) -> bool:
        return block == self.only if self.only else self.number(block) < self.share

    def number(self, block: Grid) -> float:
        return _of_group(tile_group(self.scan, *block))


def tile_group(scan: str, block_row: int, block_column: int) -> str:
    """The group of the tiles of one block of a scan."""
    return f"scan:{scan}{_IN_SCAN}{block_row}/{block_column}"


def around(place: Place) -> set[str]:
    """The groups that a tile and the tiles within the buffer of it belong to."""
    scan, row, column = place
    reach = range(-BUFFER, BUFFER + 1)
    near = product((row + by for by in reach), (column + by for by in reach))
    return {tile_group(scan, *_block(*one)) for one in near if _inside(one, None)}


_IN_SCAN = " block "


def whole(group: str) -> str:
    """The scan that a block belongs to, as a group; any other group itself."""
    scan, found, _ = group.rpartition(_IN_SCAN)
    return scan if found and group.startswith("scan:") else group


def known_in(groups: Iterable[str]) -> Callable[[str], bool]:
    """Whether a group is among these, or is a block of one of them, or holds one of them."""
    known = set(groups)
    wholes = {whole(group) for group in known}
    return lambda group: group in known or whole(group) in known or group in wholes


def place_of(data: Mapping[str, Any]) -> Place | None:
    """Scan, row and column of a task, from its data; None where it has none."""
    scan, row, column = data.get("scan"), _count(data.get("row")), _count(data.get("column"))
    return None if scan in (None, "") or row is None or column is None else (str(scan), row, column)


def _count(value: Any) -> int | None:
    """A number from 0, also where a table of tasks made it a text."""
    return int(value) if not isinstance(value, bool) and re.fullmatch(r"\d+", str(value)) else None


def leaking(tasks: Iterable[tuple[int, Side, str, Place | None]]) -> dict[int, str]:
    """The training tasks that must not train after all, each with the reason.

    tasks: id, side, group, place. What `assign_tile` decided does not leak; but sides may
    come from elsewhere, or from a scan that was smaller then.
    """
    tasks = list(tasks)
    held = [(group, place) for _, side, group, place in tasks if side == "holdout"]
    held_group = known_in(group for group, _ in held)
    near = {
        (scan, i, j)
        for scan, row, column in (place for _, place in held if place)
        for i in range(row - BUFFER, row + BUFFER + 1)
        for j in range(column - BUFFER, column + BUFFER + 1)
    }
    return {
        task: "other tasks of its group are held out"
        if held_group(group)
        else "it lies beside a held-out tile"
        for task, side, group, place in tasks
        if side == "train" and (held_group(group) or place in near)
    }


def queue_place(data: Mapping[str, Any], image: str) -> float | None:
    """Where a held-out task comes in the queue, 0 first and 1 last; None for the others.

    Random, by a hash: the exam shall not be made of the most doubtful images.
    """
    if data.get("split") != "holdout":
        return None
    return unit_hash(f"cytoloop queue/{data.get('sha256') or image}")


def group_of(data: Mapping[str, Any], image: str) -> str:
    """The group of a task: the block of its scan, its sample or slide, else its file.

    data: the task's data. image: the address of its image; of an address only the path
    counts, because the same file is often served by more than one host.
    """
    if place := place_of(data):
        scan, row, column = place
        return tile_group(scan, *_block(row, column))
    for name in GROUP_FIELDS:
        if data.get(name) not in (None, ""):
            return f"{name}:{data[name]}"
    if data.get("source"):
        return f"file:{data['source']}"
    parts = urlsplit(str(image))
    path = parts.query.removeprefix("d=") if "local-files" in parts.path else parts.path
    return f"file:{unquote(path)}"
