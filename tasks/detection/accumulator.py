"""What was seen in the files of one scan, gathered plane by plane while the files come.

A scan may have a hundred thousand files; of each nothing is kept but its boxes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ml_backend.imaging.merge_detections import Found
from tasks.detection.window_detector import NOTHING, Seen
from tasks.mosaic.mosaic import Field
from tasks.readers.planes import Showing
from tasks.sources.discover import File, Group

LOT = 256  # files whose boxes are kept apart: arrays of few boxes take more than the boxes


@dataclass(frozen=True, slots=True)
class Unit:
    """Files that are opened together. field: their place in a placed group."""

    scan: Scan
    field: int
    files: tuple[File, ...]

    @property
    def mark(self) -> str:
        return "|".join([str(self.scan.showing.limits), *(file.mark() for file in self.files)])


class Pile:
    """The boxes of a plane, which come file by file."""

    def __init__(self) -> None:
        self._joined: list[Found] = []
        self._new: list[Found] = []

    def add(self, found: Found) -> None:
        if len(found.confidence):
            self._new.append(found)
        if len(self._new) == LOT:
            self._joined.append(Found.joined(self._new))
            self._new.clear()

    def all(self) -> Found:
        return Found.joined([NOTHING, *self._joined, *self._new])


@dataclass
class Stack:
    """Planes that show one place at several depths.

    size: px, of a single field. piles: what they show, by plane, in px of the scan; read: of
    which fields, a byte each, by plane.
    """

    size: tuple[int, int] | None = None
    piles: dict[int, Pile] = field(default_factory=dict)
    read: dict[int, bytearray] = field(default_factory=dict)

    @property
    def tiles(self) -> int:
        """How many planes were read, of all fields."""
        return sum(map(sum, self.read.values()))

    def unread(self) -> set[tuple[int, int]]:
        """(field, plane) of those that other fields have."""
        return {
            (place, plane)
            for plane, fields in self.read.items()
            for place, there in enumerate(fields)
            if not there
        }


@dataclass
class Scan:
    """A group whose files are being looked at. fields: where they lie, if that is known.

    waiting: files, or stacks of them, that are still to come. lost: (field, plane) of what
    was left out with a reason; no plane where a whole file was.
    """

    group: Group
    showing: Showing
    fields: list[Field]
    waiting: int = 0
    stacks: dict[int, Stack] = field(default_factory=dict)
    lost: set[tuple[int, int | None]] = field(default_factory=set)

    def units(self, together: bool) -> Iterator[Unit]:
        """What is opened at a time: all planes of a place together, or each file."""
        spots = self.group.spots
        self.waiting = len(spots) if together else sum(len(spot.files) for spot in spots)
        for number, spot in enumerate(spots):
            for files in [spot.files] if together else [(file,) for file in spot.files]:
                yield Unit(self, number, files)

    def add(self, place: int, seen: Seen) -> str:
        """What was seen in a plane of a field; gives the reason where it cannot be used."""
        stack = self.stacks.setdefault(seen.stack, Stack())
        size = seen.width, seen.height
        at = self.fields[place] if self.fields else None
        if seen.failure is not None:
            reason = seen.failure
        elif at is not None:
            reason = _differs(size, (at.width, at.height), "the other tiles of the scan")
        else:
            stack.size = stack.size or size
            reason = _differs(size, stack.size, "the other planes of it")
        if reason:
            self.lost.add((place, seen.number))
            return reason
        read = stack.read.setdefault(seen.number, bytearray(max(1, len(self.fields))))
        read[place] = True
        found = seen.found.shifted(at.x, at.y) if at else seen.found
        stack.piles.setdefault(seen.number, Pile()).add(found)
        return ""

    def without(self, stack: Stack) -> set[tuple[int, int]]:
        """(field, plane) of planes that other fields have, and of which nothing was said."""
        told = {place for place, plane in self.lost if plane is None}
        return {one for one in stack.unread() - self.lost if one[0] not in told}


def _differs(size: tuple[int, int], usual: tuple[int, int], others: str) -> str:
    if size == usual:
        return ""
    return f"{size[0]} × {size[1]} px, where {others} have {usual[0]} × {usual[1]}"
