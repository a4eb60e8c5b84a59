"""Which tasks are kept apart for judging, decided before anything is drawn on them.

A group (a sample, a slide, a scan) falls on one side by a hash of its name, so the
decision is the same on every machine and cannot depend on who reviews what first. A scan
is too few groups for that: its tiles fall by blocks of 8 × 8 (smaller ones in a small scan, see
`division`), with a buffer of one tile between the sides, because neighbours share their cells,
their stain and their focus.

Once a task carries its side in its data, that is the truth.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import comb
from typing import Any, Literal, NamedTuple
from urllib.parse import unquote, urlsplit

# buffer: reviewed like any other, but neither trained on nor judged with.
Side = Literal["train", "holdout", "buffer"]
SIDES: tuple[Side, ...] = ("train", "holdout", "buffer")

# In this order: the first field that a task's data has names its group.
GROUP_FIELDS = ("scan", "sample", "slide")

# Tiles along a side of a block, and the tiles between a block that trains and one that judges.
BLOCK, BUFFER = 8, 1

# Blocks of a small scan, of which more than one may be held out.
_MANY = 16

Grid = tuple[int, int]


class Place(NamedTuple):
    """Where a task's image lies in its scan.

    row, column: of its tile, from 0; of an image put together from several, of the upper left
    one, and down, across how many it shows of. block: tiles along a side of the blocks into
    which the scan is divided (see `division`).
    """

    scan: str
    row: int
    column: int
    block: int = BLOCK
    down: int = 1
    across: int = 1

    @property
    def shown(self) -> set[Grid]:
        """The tiles that it shows."""
        return set(self._tiles(0))

    @property
    def near(self) -> set[Grid]:
        """Those, and all that lie within the buffer of them."""
        return set(self._tiles(BUFFER))

    def _tiles(self, margin: int) -> Iterator[Grid]:
        return product(
            range(self.row - margin, self.row + self.down + margin),
            range(self.column - margin, self.column + self.across + margin),
        )


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


def assign_tile(place: Place, share: float, *, grid: Grid | None = None) -> Assignment:
    """The side of a tile of a scan, by its block and the blocks beside it.

    place: of tiles without one, row 0 and the number of the tile in order. All planes of a
    place go together. share: of the blocks, 0..1, held out. grid: rows and columns of the
    scan, where they are known: then a scan of two blocks or more has both sides, as in
    `assign_all`. An image stitched from tiles of different sides is buffer.

    The buffer is taken from the training side: held-out tiles are the rarer ones.
    """
    blocks = _Blocks.of(place.scan, share, grid, place.block)
    own = {_block(tile, place.block) for tile in place.shown}
    beside = {_block(tile, place.block) for tile in place.near if _inside(tile, grid)} - own
    held = {blocks.held_out(block) for block in own}
    chance, free = blocks.chances(len(own), len(own | beside))
    if held == {True}:
        return Assignment("holdout", chance, "held out for judging, by its block of the scan")
    if held == {False} and not any(blocks.held_out(block) for block in beside):
        return Assignment("train", free, "for training, by its block of the scan")
    reason = "at the edge of a held-out block: neither trains nor judges"
    return Assignment("buffer", 1 - free - chance, reason)


def _inside(tile: Grid, grid: Grid | None) -> bool:
    row, column = tile
    return row >= 0 <= column and (grid is None or (row < grid[0] and column < grid[1]))


def _block(tile: Grid, block: int) -> Grid:
    return tile[0] // block, tile[1] // block


@dataclass(frozen=True)
class _Blocks:
    """A scan's blocks. share: of them, held out each by its hash; or, of few blocks, the ones
    that are (`chosen`), so many of all of them (`number`)."""

    scan: str
    share: float
    block: int
    chosen: frozenset[Grid] = frozenset()
    number: int = 0

    @classmethod
    @lru_cache(maxsize=1024)
    def of(cls, scan: str, share: float, grid: Grid | None, block: int) -> _Blocks:
        plain = cls(scan, share, block)
        if grid is None or share == 0:
            return plain
        rows, columns = (-(-tiles // block) for tiles in grid)
        places = sorted(product(range(rows), range(columns)), key=plain.number_of)
        if len(places) < 2:
            return plain
        if block == BLOCK and len({plain.held_out(place) for place in places}) > 1:
            return plain
        # Of a scan that was divided because it is small, one of few, and a quarter at most: the
        # buffer takes from the rest as much again.
        few = block == BLOCK or len(places) < _MANY
        many = 1 if few else max(1, int(min(share, 0.25) * len(places)))
        return cls(scan, share, block, frozenset(places[:many]), len(places))

    def held_out(self, block: Grid) -> bool:
        return block in self.chosen if self.chosen else self.number_of(block) < self.share

    def number_of(self, block: Grid) -> float:
        return _of_group(tile_group(self.scan, *block, self.block))

    def chances(self, own: int, near: int) -> tuple[float, float]:
        """Of all of so many own blocks being held out, and of none of those that are near."""
        if not self.chosen:
            return self.share**own, (1 - self.share) ** near
        many, ways = len(self.chosen), comb(self.number, len(self.chosen))
        held = comb(self.number - own, many - own) / ways if own <= many else 0.0
        return held, comb(max(0, self.number - near), many) / ways


def tile_group(scan: str, block_row: int, block_column: int, block: int = BLOCK) -> str:
    """The group of the tiles of one block of a scan; block: tiles along a side of it."""
    size = "" if block == BLOCK else f" of {block}"
    return f"scan:{scan}{_IN_SCAN}{block_row}/{block_column}{size}"


def shown_in(place: Place) -> set[str]:
    """The groups of the tiles that an image shows."""
    return _groups(place, place.shown)


def around(place: Place) -> set[str]:
    """Those, and the groups of the tiles within the buffer of them."""
    return _groups(place, place.near)


def _groups(place: Place, tiles: Iterable[Grid]) -> set[str]:
    return {
        tile_group(place.scan, *_block(tile, place.block), place.block)
        for tile in tiles
        if _inside(tile, None)
    }


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
    """Where a task's image lies in its scan, from its data; None where that does not say."""
    scan, row, column = data.get("scan"), _count(data.get("row")), _count(data.get("column"))
    if scan in (None, "") or row is None or column is None:
        return None
    block, down, across = (_count(data.get(name)) for name in ("block", "down", "across"))
    return Place(str(scan), row, column, block or BLOCK, down or 1, across or 1)


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
    near = {(place.scan, *tile) for _, place in held if place for tile in place.near}

    def beside(place: Place | None) -> bool:
        return place is not None and any((place.scan, *tile) in near for tile in place.shown)

    return {
        task: "other tasks of its group are held out"
        if held_group(group)
        else "it lies beside a held-out tile"
        for task, side, group, place in tasks
        if side == "train" and (held_group(group) or beside(place))
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
        tile = place.row, place.column
        return tile_group(place.scan, *_block(tile, place.block), place.block)
    for name in GROUP_FIELDS:
        if data.get(name) not in (None, ""):
            return f"{name}:{data[name]}"
    if data.get("source"):
        return f"file:{data['source']}"
    parts = urlsplit(str(image))
    path = parts.query.removeprefix("d=") if "local-files" in parts.path else parts.path
    return f"file:{unquote(path)}"
