"""A file of detections as the source of a report."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath

from ml_backend.dataset.annotation_formats.records import Detected
from ml_backend.dataset.folder import read_shown_size
from ml_backend.imaging.decode import UnreadableImage
from ml_backend.label_studio.class_names import choose_headline
from tasks.exchange.detection_files import read_detections
from tasks.mosaic import mosaic
from tasks.mosaic.layout import Layout
from tasks.mosaic.mosaic import open_planes
from tasks.reports import counts
from tasks.reports.colours import colours, in_usual_order
from tasks.reports.counts import Field, Look, Thing
from tasks.reports.source import Piece, Source
from tasks.sources.discover import ScanFiles, Skipped
from tasks.sources.scan_source import ScanSource, SourceOptions

WINDOW = 4096  # px a side that a large image is read by
MOVED = 2  # px that a scan may be larger or smaller than where it was detected in


def read_source(path: Path, images: Path | None, how: SourceOptions = SourceOptions()) -> Source:
    """Read a file of detections for a report.

    Boxes without a confidence count as a person's. Sources of one folder are counted
    together, under it.

    Args:
        path: A file that `cytoloop detect` or `export` wrote.
        images: What was detected in; None where no pictures are wanted.
        how: How the images were read.

    Raises:
        FileNotFoundError: There is no such file, or no such images.
        ValueError: It is not a file of detections.
    """
    if images is not None and not images.exists():
        raise FileNotFoundError(f"{images}: there is no such file or folder")
    skipped: list[Skipped] = []
    pictures = _Images(images, how) if images else None
    fields = []
    for detected in read_detections(path):
        width, height = detected.width, detected.height
        if pictures and not width:
            try:
                width, height = pictures.measure(detected.source)
            except (OSError, ValueError) as error:
                skipped.append({"source": detected.source, "reason": str(error)})
        microns = pictures.find_pixel_size(detected.source) if pictures else how.pixel_size
        fields.append(_to_field(detected, width, height, microns))
    labels = dict.fromkeys(thing.label for field in fields for thing in field.things)
    classes = in_usual_order(list(labels))
    return Source(
        title=f"Detections in {path.name}",
        fields=fields,
        classes=classes,
        headline=choose_headline(classes),
        colours=colours(classes),
        pixels=pictures,
        skipped=skipped,
    )


def _to_field(detected: Detected, width: int, height: int, microns: float | None) -> Field:
    things = tuple(
        Thing(
            d.label,
            (d.x1, d.y1, d.x2, d.y2),
            None if detected.by_hand else d.confidence,
            d.plane,
            d.partial,
        )
        for d in detected.detections
    )
    if not width:  # the file does not say, and there is no image to ask
        width = int(max((thing.box[2] for thing in things), default=0) + counts.EDGE + 1)
        height = int(max((thing.box[3] for thing in things), default=0) + counts.EDGE + 1)
    look = Look(
        detected.source,
        0.0,
        0.0,
        width,
        height,
        "reviewed" if detected.by_hand else "detected",
        things,
    )
    folder = PurePosixPath(detected.source).parent.as_posix()
    name = detected.source if folder == "." else folder
    return counts.field(detected.source, name, [look], microns)


class _Images:
    """The images that were detected in, by the names that `detect` has for scans and files."""

    def __init__(self, images: Path, how: SourceOptions) -> None:
        self._source = ScanSource(images, how)
        self._layout = Layout(self._source)
        self._groups = {group.name: group for group in self._source.groups}
        self._fields: dict[str, list[mosaic.PlacedTile]] = {}

    def measure(self, source: str) -> tuple[int, int]:
        """Width and height of a source, px. Raises ValueError when there is no such image."""
        group = self._groups.get(source)
        if group is None:
            raise ValueError("there is no such image")
        if not group.placed:
            return read_shown_size(group.tiles[0].files[0].path)
        rects = [field.rect for field in self._place(group)]
        return max(rect[2] for rect in rects), max(rect[3] for rect in rects)

    def find_pixel_size(self, source: str) -> float | None:
        """µm that a pixel shows, where it is known."""
        group = self._groups.get(source)
        size = self._source.options.pixel_size
        if size or group is None:
            return size
        first, rendering = group.tiles[0].files[0], self._source.rendering(group)
        return self._source.examine(first, rendering.channel).pixel_size

    def _place(self, group: ScanFiles) -> list[mosaic.PlacedTile]:
        if group.name not in self._fields:
            self._fields[group.name] = self._layout.place_tiles(group)
        return self._fields[group.name]

    def pieces(
        self, field: Field, looks: Collection[int], skipped: list[Skipped]
    ) -> Iterator[Piece]:
        """The pictures of a field, see `source.Pixels`."""
        group = self._groups.get(field.name)
        if group is None:
            entry: Skipped = {"source": field.name, "reason": "there is no such image"}
            if entry not in skipped:  # told already where its size was asked for
                skipped.append(entry)
            return
        try:
            places = [(tile.x, tile.y) for tile in self._place(group)] if group.placed else [(0, 0)]
            size = self.measure(field.name)
        except ValueError as error:
            skipped.append({"source": field.name, "reason": str(error)})
            return
        if max(abs(size[0] - field.width), abs(size[1] - field.height)) > MOVED:
            reason = (
                f"{size[0]} × {size[1]} px here, and {field.width} × {field.height} px where "
                "it was detected in"
            )
            skipped.append({"source": field.name, "reason": reason})
            return
        rendering, depth = self._source.rendering(group), self._source.options.depth
        wanted = {thing.plane for thing in field.things}
        for (left, top), tile in zip(places, group.tiles, strict=True):
            try:
                planes = open_planes(tile.files, rendering, depth, self._source.open_ahead)
            except UnreadableImage as error:
                skipped.append({"source": tile.name, "reason": error.reason})
                continue
            # The planes that objects are on; the first where there are none.
            for plane in [each for each in planes if each.number in wanted] or planes[:1]:
                for window in plane.read_windows(WINDOW, 0):
                    at = left + window.left, top + window.top
                    yield Piece(0, plane.number, *at, window.pixels)
                if plane.failure:
                    skipped.append({"source": tile.name, "reason": plane.failure})
