"""What a detector finds in the scans of a source: files become scans, scans become sheets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from ml_backend.imaging.decode import UnreadableImage
from ml_backend.learners.detector.inference import Detector
from tasks.detection.accumulator import Scan, Stack, Unit
from tasks.detection.background_filter import MEASURED, SQUARE, Background, Emptied
from tasks.detection.ray_executor import ClusterLooker
from tasks.detection.scan_result import Sheet, sheet_of
from tasks.detection.tile_sampling import Sampling
from tasks.detection.window_detector import Forgetful, Looker, Looks, Memory, Seen
from tasks.mosaic.layout import How, Places
from tasks.mosaic.mosaic import Field, Mosaic, Part, gaps_of, open_planes
from tasks.readers.open import pixel_size
from tasks.readers.planes import ScanPlane
from tasks.sources import filename_patterns
from tasks.sources.discover import Group, Skipped, look_through

T = TypeVar("T")
Progress = Callable[[float, float], None]

MANY = 200  # parts of a scan that are worth starting workers on a cluster for


class Finder:
    """Goes through a source once.

    skipped, notes: what was left out and how the source was understood, so far. tiles: the
    planes that were read, so far. overlap: between the windows that we cut, px. cluster: the
    folder of the detector's version, where the files are looked at on a Ray cluster.
    pixel_size: µm that a pixel shows, as the user says or the first file; where it is known and
    the version knows its own, that is the scale at which it looks. emptied: with skip_empty,
    the windows that showed nothing but background, so far.
    """

    def __init__(
        self,
        source: Path,
        detector: Detector,
        how: How,
        *,
        overlap: int | None = None,
        memory: Memory | None = None,
        cluster: Path | None = None,
        skip_empty: bool = False,
        progress: Progress = lambda done, total: None,
    ) -> None:
        """Raises FileNotFoundError, ValueError where there is nothing to look at."""
        given = filename_patterns.pattern(how.pattern) if how.pattern else None
        self._source = look_through(source.absolute(), given, how.channel, apart=how.apart)
        self.skipped: list[Skipped] = self._source.skipped
        self.notes: list[str] = self._source.notes
        self.tiles = 0
        self.emptied = Emptied()
        first = next((group.spots[0].files[0] for group in self._source.groups), None)
        self.pixel_size = how.pixel_size or (pixel_size(first.path) if first else None)
        if said := scale_in_words(detector, self.pixel_size, given=how.pixel_size is not None):
            self.notes.append(said)
        self._root, self._detector, self._how = source, detector.at(self.pixel_size), how
        self._memory = memory or Forgetful()
        self._cluster = cluster
        self._skip_empty = skip_empty
        self._progress = progress
        self._side = self._detector.side
        self._overlap = self._detector.overlap if overlap is None else overlap
        if not 0 <= self._overlap < self._side:
            raise ValueError(f"--overlap: windows have {self._side} px; share less than that")
        self._places = Places(self._source, how)

    def sheets(self) -> Iterator[Sheet]:
        """What the scans show, in natural order; a scan of which nothing could be read is not
        among them."""
        total = sum(len(spot.files) for group in self._source.groups for spot in group.spots)
        done = 0
        later: list[Scan] = []
        looker = self._looker(
            self._opening, lambda unit: unit.mark, self._cluster, self._background()
        )
        for unit, seen in looker.seen(self._units()):
            scan = unit.scan
            scan.waiting -= 1
            if isinstance(seen, str):
                self._skip(unit.files[0].name, seen)
                plane = unit.files[0].plane if self._how.depth == "each" else None
                scan.lost.add((unit.field, plane))
            else:
                self._gather(unit, seen)
                self.emptied = sum((one.emptied for one in seen), self.emptied)
            if not scan.waiting and scan.fields and self._cluster:
                later.append(scan)  # its seams are looked at by workers that are busy now
            elif not scan.waiting:
                yield from self._sheets(scan)
            done += len(unit.files)
            self._progress(done, total)
        for scan in later:
            yield from self._sheets(scan)

    def _looker(
        self,
        opening: Callable[[T], Callable[[], list[ScanPlane]]],
        mark: Callable[[T], str],
        cluster: Path | None,
        background: Background | None = None,
    ) -> Looks[T]:
        looks = (self._memory, self._side, self._overlap, opening, mark, background)
        if cluster is None:
            return Looker(self._detector, *looks)
        return ClusterLooker(cluster, self.pixel_size, *looks)

    def _again(self, parts: Sequence[Part]) -> Iterator[tuple[Part, list[Seen] | str]]:
        cluster = self._cluster if len(parts) >= MANY else None
        return self._looker(lambda part: part.opened, Part.mark, cluster).seen(parts)

    def _skip(self, source: str, reason: str) -> None:
        self.skipped.append({"source": source, "reason": reason})

    def _background(self) -> Background | None:
        if not self._skip_empty:
            return None
        tiles = Sampling(self._root, self._how, self._side).tiles(MEASURED)
        return Background.measured(tiles, max(1, round(SQUARE / self._detector.scale)))

    # Opening.

    def _units(self) -> Iterator[Unit]:
        for group in self._source.groups:
            fields: list[Field] = []
            if group.placed:
                try:
                    fields = self._places.fields(group)
                except UnreadableImage as error:
                    for spot in group.spots:
                        for file in spot.files:
                            self._skip(file.name, error.reason)
                    continue
            if lacking := _lacking(group, fields):
                self.notes.append(lacking)
            scan = Scan(group, self._places.showing(group), fields)
            yield from scan.units(self._how.depth != "each")

    def _opening(self, unit: Unit) -> Callable[[], list[ScanPlane]]:
        return partial(open_planes, unit.files, unit.scan.showing, self._how.depth)

    # Making one scan of it.

    def _gather(self, unit: Unit, seen: Sequence[Seen]) -> None:
        read = 0
        for one in seen:
            reason = unit.scan.add(unit.field, one)
            if not reason:
                read += 1
                continue
            which = f"plane {one.number}: " if len(seen) > 1 and len(unit.files) == 1 else ""
            file = next((file for file in unit.files if file.plane == one.number), unit.files[0])
            self._skip(file.name, which + reason)
        self.tiles += read
        if not read and self._how.depth != "each":
            unit.scan.lost.add((unit.field, None))

    def _sheets(self, scan: Scan) -> Iterator[Sheet]:
        while scan.stacks:
            number = next(iter(scan.stacks))
            stack = scan.stacks.pop(number)
            if without := scan.without(stack):
                self.notes.append(_not_there(scan.group, without))
            if stack.piles:
                yield self._sheet(scan, number, stack)

    def _sheet(self, scan: Scan, number: int, stack: Stack) -> Sheet:
        fields = scan.fields
        if not fields:
            assert stack.size is not None
            fields = [Field(0, 0, 0, 0, *stack.size, scan.group.spots[0].files)]
        mosaic = Mosaic(
            scan.group,
            max(one.x + one.width for one in fields),
            max(one.y + one.height for one in fields),
            fields,
            scan.showing,
            self._how.depth,
            number,
            len(stack.piles),
            gaps_of(fields) if scan.fields else [],
        )
        return sheet_of(
            mosaic, stack.piles, stack.tiles, stack.unread(), self._detector, self._again
        )


def _lacking(group: Group, fields: Sequence[Field]) -> str:
    """In words: places of a grid that have no tile; '' where none is."""
    if not fields:
        return ""
    rows = 1 + max(one.row for one in fields)
    columns = 1 + max(one.column for one in fields)
    number = rows * columns - len(fields)
    if not number:
        return ""
    have = "place of its grid has" if number == 1 else "places of its grid have"
    return f"{group.name}: {number} {have} no tile ({rows} rows, {columns} columns)"


def _not_there(group: Group, planes: set[tuple[int, int]]) -> str:
    """In words: planes (field, plane) that other tiles of the scan have."""
    place, plane = min(planes)
    others = f" and {len(planes) - 1} more" if len(planes) > 1 else ""
    tile = f"{group.spots[place].name} has no plane {plane}{others}"
    return f"{group.name}: not every tile has all planes: {tile}"


def scale_in_words(detector: Detector, pixel_size: float | None, *, given: bool) -> str:
    """What a pixel size means for the scale at which a detector looks; '' where it is not known.

    given: by the user, not by metadata. Raises ValueError where what is given cannot be true.
    """
    card = detector.card
    if pixel_size is None or (card.input_um is None and not given):
        return ""
    said = f"{pixel_size:g} µm a pixel"
    if card.input_um is None:
        return f"{said}: no influence on the scale, because the version does not know its own"
    learned = f"the version learned from images of {card.input_um * card.scale:.3g}"
    scale = detector.at(pixel_size).scale
    if scale == pixel_size / card.input_um:
        return f"{said}, {learned}: looked at at {scale / card.scale:.3g} times its usual scale"
    if given:
        raise ValueError(f"--pixel-size: {said} cannot be true, {learned}")
    return f"{said}, by the metadata, cannot be true, {learned}: looked at at its usual scale"
