"""Which tasks are held out for judging, decided before anybody annotates them.

A group (a sample, a slide, a scan) goes to one side by a hash of its name, so the decision is the
same on every machine and cannot depend on who reviews what first. A single scan is too large for
that: its tiles are split by blocks of 8 × 8 (smaller ones in a small scan, see `small_scans`),
with a buffer of one tile between the sides, because neighbours share their cells, their stain
and their focus.

Once a task carries its side in its data, that side holds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import comb
from typing import Any, Literal, NamedTuple
from urllib.parse import unquote, urlsplit

from ml_backend.system.numbers import parse_whole_number

# buffer: reviewed like any other, but neither trained on nor judged with.
Side = Literal["train", "holdout", "buffer"]
# The field of a task's data that names the task that it shows a second time: see `repeats`.
REPEAT_OF = "repeat_of"
SIDES: tuple[Side, ...] = ("train", "holdout", "buffer")

# In this order: the first field that a task's data has names its group.
GROUP_FIELDS = ("scan", "sample", "slide")

# Tiles along a side of a block, and the tiles between a block that trains and one that judges.
BLOCK, BUFFER = 8, 1

# Rows or columns of a scan: a slide of 75 mm in tiles of 0.1 mm has 750 of them.
MOST_TILES = 1_000_000
# Rows or columns of tiles that one image shows, which are listed one by one.
MOST_SHOWN = 100

# A task is assigned to its side with no smaller probability; it divides by it.
LEAST_CHANCE = 1e-6

# Blocks of a small scan, of which more than one may be held out.
_MANY = 16

Grid = tuple[int, int]


class Place(NamedTuple):
    """Where a task's image lies in its scan.

    Attributes:
        scan: The scan's name.
        row: Of its tile, from 0; of an image stitched from several tiles, of the upper left one.
        column: Likewise.
        block: Tiles along a side of the blocks into which the scan is divided, see
            `small_scans`.
        down: How many rows of tiles the image shows.
        across: How many columns of tiles it shows.
    """

    scan: str
    row: int
    column: int
    block: int = BLOCK
    down: int = 1
    across: int = 1

    @property
    def tiles(self) -> set[Grid]:
        """The tiles that the image shows."""
        return set(self._list_tiles(0))

    @property
    def near_tiles(self) -> set[Grid]:
        """The tiles that the image shows, and all within the buffer around them."""
        return set(self._list_tiles(BUFFER))

    def _list_tiles(self, margin: int) -> Iterator[Grid]:
        return product(
            range(self.row - margin, self.row + self.down + margin),
            range(self.column - margin, self.column + self.across + margin),
        )


@dataclass(frozen=True)
class Assignment:
    """The side that a task was assigned to.

    Attributes:
        side: The side.
        probability: With which the task was assigned to it, 0..1.
        reason: In words.
    """

    side: Side
    probability: float
    reason: str

    def make_task_data(self, key: str = "", blind_share: float = 0.0) -> dict[str, Any]:
        """Make the fields that a task carries from its creation on.

        Args:
            key: What identifies the task, such as the hash of its image.
            blind_share: The share (0..1) of the held-out tasks that are shown without a
                pre-annotation, chosen by a hash of the key.
        """
        blind = self.side == "holdout" and hash_to_unit(f"cytoloop blind/{key}") < blind_share
        return {
            "split": self.side,
            "sampling_p": round(self.probability, 6),
            "sampling_reason": f"{self.reason}; {_BLIND}" if blind else self.reason,
            "blind": blind,
        }


_BLIND = "shown without boxes, so that what it judges did not draw them"


def hash_to_unit(text: str) -> float:
    """Hash a text to a number in [0, 1), uniform over texts and the same on every machine."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _hash_group(group: str) -> float:
    """Hash a group to a number; it is held out where that is below the share."""
    return hash_to_unit(f"cytoloop split/{group}")


def assign(group: str, share: float) -> Assignment:
    """Assign one group to a side; `share` (0..1) of all groups is held out."""
    if _hash_group(group) < share:
        return Assignment("holdout", share, "held out for judging, by its group")
    return Assignment("train", 1 - share, "for training, by its group")


def assign_all(groups: Iterable[str], share: float) -> dict[str, Assignment]:
    """Assign every group of a new project to a side.

    The same as `assign`, but never all on one side: of a few samples the hash might hold out
    none, and nothing could be judged, or all, and nothing could be learned. Then the group with
    the lowest hash is held out, the others are trained on. A single group stays together, in
    training: split it by its files instead.

    Args:
        groups: In any order, with or without repeats.
        share: Of the groups that is held out, 0..1.
    """
    names = sorted(set(groups), key=_hash_group)
    sides = {group: assign(group, share) for group in names}
    if share > 0 and len(names) > 1 and len({assigned.side for assigned in sides.values()}) == 1:
        reason = "by its group, the first of few in the order of their hashes"
        p = 1 / len(names)
        sides = {group: Assignment("train", 1 - p, f"for training, {reason}") for group in names}
        sides[names[0]] = Assignment("holdout", p, f"held out for judging, {reason}")
    return sides


def assign_tile(place: Place, share: float, *, grid: Grid | None = None) -> Assignment:
    """Assign a tile of a scan to a side, by its block and the blocks beside it.

    An image stitched from tiles of different sides is buffer. The buffer is taken from the
    training side: held-out tiles are the rarer ones.

    Args:
        place: Of tiles without a place, row 0 and the number of the tile in order. All planes
            at a place go together.
        share: Of the blocks that is held out, 0..1.
        grid: Rows and columns of the scan, where they are known: then a scan of two blocks or
            more has both sides, as in `assign_all`.
    """
    blocks = _Blocks.divide(place.scan, share, grid, place.block)
    own = {_find_block(tile, place.block) for tile in place.tiles}
    beside = {
        _find_block(tile, place.block) for tile in place.near_tiles if _is_inside(tile, grid)
    } - own
    held = {blocks.is_held_out(block) for block in own}
    chance, free = blocks.compute_chances(len(own), len(own | beside))
    if held == {True}:
        return Assignment("holdout", chance, "held out for judging, by its block of the scan")
    if held == {False} and not any(blocks.is_held_out(block) for block in beside):
        return Assignment("train", free, "for training, by its block of the scan")
    reason = "at the edge of a held-out block: neither trains nor judges"
    return Assignment("buffer", 1 - free - chance, reason)


def _is_inside(tile: Grid, grid: Grid | None) -> bool:
    row, column = tile
    return row >= 0 <= column and (grid is None or (row < grid[0] and column < grid[1]))


def _find_block(tile: Grid, block: int) -> Grid:
    return tile[0] // block, tile[1] // block


@dataclass(frozen=True)
class _Blocks:
    """A scan's blocks, and which of them are held out.

    Attributes:
        scan: The scan's name.
        share: Of the blocks that is held out, each by its hash.
        block: Tiles along a side of a block.
        chosen: Of a scan of few blocks, those that are held out instead.
        number: How many blocks such a scan has.
    """

    scan: str
    share: float
    block: int
    chosen: frozenset[Grid] = frozenset()
    number: int = 0

    @classmethod
    @lru_cache(maxsize=1024)
    def divide(cls, scan: str, share: float, grid: Grid | None, block: int) -> _Blocks:
        plain = cls(scan, share, block)
        if grid is None or share == 0:
            return plain
        rows, columns = (-(-tiles // block) for tiles in grid)
        places = sorted(product(range(rows), range(columns)), key=plain.hash_block)
        if len(places) < 2:
            return plain
        if block == BLOCK and len({plain.is_held_out(place) for place in places}) > 1:
            return plain
        # Of a scan that was divided because it is small, hold out one of few blocks, and at most
        # a quarter of more: the buffer takes as much again from the rest.
        few = block == BLOCK or len(places) < _MANY
        many = 1 if few else max(1, int(min(share, 0.25) * len(places)))
        return cls(scan, share, block, frozenset(places[:many]), len(places))

    def is_held_out(self, block: Grid) -> bool:
        return block in self.chosen if self.chosen else self.hash_block(block) < self.share

    def hash_block(self, block: Grid) -> float:
        return _hash_group(make_tile_group(self.scan, *block, self.block))

    def compute_chances(self, own: int, near: int) -> tuple[float, float]:
        """Compute the chance that all of `own` blocks are held out, and that none of `near` is."""
        if not self.chosen:
            return self.share**own, (1 - self.share) ** near
        many, ways = len(self.chosen), comb(self.number, len(self.chosen))
        held = comb(self.number - own, many - own) / ways if own <= many else 0.0
        return held, comb(max(0, self.number - near), many) / ways


def make_tile_group(scan: str, block_row: int, block_column: int, block: int = BLOCK) -> str:
    """Name the group of the tiles of one block of a scan.

    Args:
        scan: The scan's name.
        block_row: Of the block, from 0.
        block_column: Of the block, from 0.
        block: Tiles along a side of it.
    """
    size = "" if block == BLOCK else f" of {block}"
    return f"scan:{scan}{_IN_SCAN}{block_row}/{block_column}{size}"


def list_shown_groups(place: Place) -> set[str]:
    """List the groups of the tiles that an image shows."""
    return _list_groups(place, place.tiles)


def list_near_groups(place: Place) -> set[str]:
    """List the groups of the tiles that an image shows, or that lie within the buffer around it."""
    return _list_groups(place, place.near_tiles)


def _list_groups(place: Place, tiles: Iterable[Grid]) -> set[str]:
    return {
        make_tile_group(place.scan, *_find_block(tile, place.block), place.block)
        for tile in tiles
        if _is_inside(tile, None)
    }


_IN_SCAN = " block "


def get_scan_group(group: str) -> str:
    """Get the group of the scan that a block belongs to; any other group itself."""
    scan, found, _ = group.rpartition(_IN_SCAN)
    return scan if found and group.startswith("scan:") else group


def make_group_matcher(groups: Iterable[str]) -> Callable[[str], bool]:
    """Make a test of whether a group overlaps with any of these.

    It does where it is one of them, a block of one of them, or a scan that one of them is a
    block of.
    """
    known = set(groups)
    scans = {get_scan_group(group) for group in known}
    return lambda group: group in known or get_scan_group(group) in known or group in scans


def read_place(data: Mapping[str, Any]) -> Place | None:
    """Read from a task's data where its image lies in its scan; None where it does not say."""
    scan = data.get("scan")
    row, column = (parse_whole_number(data.get(name), 0, MOST_TILES) for name in ("row", "column"))
    if scan in (None, "") or row is None or column is None:
        return None
    block = parse_whole_number(data.get("block"), 0, MOST_TILES)
    down, across = (
        parse_whole_number(data.get(name), 0, MOST_SHOWN) for name in ("down", "across")
    )
    return Place(str(scan), row, column, block or BLOCK, down or 1, across or 1)


def find_leaking(tasks: Iterable[tuple[int, Side, str, Place | None]]) -> dict[int, str]:
    """Find the training tasks that must not train after all, because they show held-out images.

    What `assign_tile` decided does not leak. But sides may come from elsewhere, or from a time
    when the scan was smaller.

    Args:
        tasks: Id, side, group and place of each.

    Returns:
        By task id, the reason.
    """
    tasks = list(tasks)
    held = [(group, place) for _, side, group, place in tasks if side == "holdout"]
    is_held_out = make_group_matcher(group for group, _ in held)
    near = {(place.scan, *tile) for _, place in held if place for tile in place.near_tiles}

    def is_beside(place: Place | None) -> bool:
        return place is not None and any((place.scan, *tile) in near for tile in place.tiles)

    return {
        task: "other tasks of its group are held out"
        if is_held_out(group)
        else "it lies beside a held-out tile"
        for task, side, group, place in tasks
        if side == "train" and (is_held_out(group) or is_beside(place))
    }


def compute_queue_place(data: Mapping[str, Any], image: str) -> float | None:
    """Compute where a held-out task or a repeat comes in the queue: 0 first, 1 last; else None.

    Random, by a hash: the hold-out must not consist of the images that a strategy prefers, and a
    repeat must not come right after the first showing.

    Args:
        data: The task's data.
        image: The address of its image, for tasks whose data hold no hash of it.
    """
    if REPEAT_OF in data:
        return hash_to_unit(f"cytoloop queue/repeat/{data.get('sha256') or image}")
    if data.get("split") != "holdout":
        return None
    return hash_to_unit(f"cytoloop queue/{data.get('sha256') or image}")


def read_group(data: Mapping[str, Any], image: str) -> str:
    """Read the group of a task: the block of its scan, its sample or slide, else its file.

    Args:
        data: The task's data.
        image: The address of its image. Only the path counts, because the same file is often
            served by more than one host.
    """
    if place := read_place(data):
        tile = place.row, place.column
        return make_tile_group(place.scan, *_find_block(tile, place.block), place.block)
    for name in GROUP_FIELDS:
        if data.get(name) not in (None, ""):
            return f"{name}:{data[name]}"
    if data.get("source"):
        return f"file:{data['source']}"
    parts = urlsplit(str(image))
    path = parts.query.removeprefix("d=") if "local-files" in parts.path else parts.path
    return f"file:{unquote(path)}"
