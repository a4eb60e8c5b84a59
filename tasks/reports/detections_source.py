"""A file of detections as the source of a report."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath

from ml_backend.dataset.annotation_formats.records import Detected
from ml_backend.dataset.folder import read_shown_size
from ml_backend.imaging.decode import UnreadableImage
from ml_backend.label_studio.class_names import choose_headline
from tasks.exchange.choice_files import is_choice_file, read_choices
from tasks.exchange.detection_files import read_detections
from tasks.mosaic import mosaic
from tasks.mosaic.layout import Layout
from tasks.mosaic.mosaic import open_planes
from tasks.reports.colours import choose_colours, sort_classes
from tasks.reports.counts import EDGE, ImageGroup, MarkedObject, ReportImage, group_images
from tasks.reports.source import Piece, ReportSource
from tasks.sources.discover import ScanFiles, Skipped
from tasks.sources.scan_source import ScanSource, SourceOptions

WINDOW = 4096  # side of the windows in which a large image is read, px
MOVED = 2  # by so many px a scan may be larger or smaller than when it was detected in


def read_detections_file(
    path: Path, images: Path | None, options: SourceOptions = SourceOptions()
) -> ReportSource:
    """Read a file of detections for a report.

    Of a file of classes each image counts once. Boxes without a confidence count as a person's.
    Sources of one folder are counted together, under it.

    Args:
        path: A file that `cytoloop detect` or `export` wrote.
        images: What was detected in; None where no pictures are wanted.
        options: How the images were read.

    Raises:
        FileNotFoundError: There is no such file, or no such images.
        ValueError: It is not a file of detections.
    """
    if images is not None and not images.exists():
        raise FileNotFoundError(f"{images}: there is no such file or folder")
    skipped: list[Skipped] = []
    pictures = _Images(images, options) if images else None
    if is_choice_file(path):
        return _read_choice_file(path, pictures, options.pixel_size)
    groups = []
    for detected in read_detections(path):
        width, height = detected.width, detected.height
        if pictures and not width:
            try:
                width, height = pictures.measure(detected.source)
            except (OSError, ValueError) as error:
                skipped.append({"source": detected.source, "reason": str(error)})
        microns = pictures.find_pixel_size(detected.source) if pictures else options.pixel_size
        groups.append(_to_group(detected, width, height, microns))
    labels = dict.fromkeys(marked.label for group in groups for marked in group.objects)
    classes = sort_classes(list(labels))
    return ReportSource(
        title=f"Detections in {path.name}",
        groups=groups,
        classes=classes,
        headline=choose_headline(classes),
        colours=choose_colours(classes),
        pixels=pictures,
        skipped=skipped,
    )


def _read_choice_file(
    path: Path, pictures: _Images | None, pixel_size: float | None
) -> ReportSource:
    """Read what a classifier called whole images."""
    skipped: list[Skipped] = []
    groups = []
    named = read_choices(path)
    for image in named:
        size, microns = (0, 0), pixel_size
        if pictures:
            try:
                size = pictures.measure(image.source)
                microns = pictures.find_pixel_size(image.source)
            except (OSError, ValueError) as error:
                skipped.append({"source": image.source, "reason": str(error)})
        box = (0.0, 0.0, float(size[0]), float(size[1]))
        objects = tuple(
            MarkedObject(name, box, image.probabilities[name], image.plane, whole=True)
            for name in image.chosen
        )
        shown = ReportImage(image.source, 0.0, 0.0, *size, "detected", objects, plane=image.plane)
        groups.append(
            group_images(image.source, _name_sample(image.source, path.stem), [shown], microns)
        )
    classes = sort_classes(
        list(dict.fromkeys(name for image in named for name in image.probabilities))
    )
    return ReportSource(
        title=f"Classes in {path.name}",
        groups=groups,
        classes=classes,
        headline=classes,
        colours=choose_colours(classes),
        pixels=pictures,
        skipped=skipped,
        names_images=True,
    )


def _name_sample(source: str, alone: str) -> str:
    """Name the sample of an image: its folder, and `alone` where it lies in none."""
    folder = PurePosixPath(source).parent.as_posix()
    return alone if folder == "." else folder


def _to_group(detected: Detected, width: int, height: int, microns: float | None) -> ImageGroup:
    objects = tuple(
        MarkedObject(
            d.label,
            (d.x1, d.y1, d.x2, d.y2),
            None if detected.by_hand else d.confidence,
            d.plane,
            d.partial,
        )
        for d in detected.detections
    )
    if not width:  # the file does not say, and there is no image to ask
        width = int(max((marked.box[2] for marked in objects), default=0) + EDGE + 1)
        height = int(max((marked.box[3] for marked in objects), default=0) + EDGE + 1)
    image = ReportImage(
        detected.source,
        0.0,
        0.0,
        width,
        height,
        "reviewed" if detected.by_hand else "detected",
        objects,
    )
    return group_images(
        detected.source, _name_sample(detected.source, detected.source), [image], microns
    )


class _Images:
    """The images that were detected in, by the names that `detect` has for scans and files."""

    def __init__(self, images: Path, options: SourceOptions) -> None:
        self._source = ScanSource(images, options)
        self._layout = Layout(self._source)
        self._scans = {scan.name: scan for scan in self._source.groups}
        self._placed: dict[str, list[mosaic.PlacedTile]] = {}

    def measure(self, source: str) -> tuple[int, int]:
        """Width and height of a source, px. Raises ValueError when there is no such image."""
        scan = self._scans.get(source)
        if scan is None:
            raise ValueError("there is no such image")
        if not scan.placed:
            return read_shown_size(scan.tiles[0].files[0].path)
        rects = [tile.rect for tile in self._place(scan)]
        return max(rect[2] for rect in rects), max(rect[3] for rect in rects)

    def find_pixel_size(self, source: str) -> float | None:
        """µm that a pixel shows, where it is known."""
        scan = self._scans.get(source)
        size = self._source.options.pixel_size
        if size or scan is None:
            return size
        first, rendering = scan.tiles[0].files[0], self._source.choose_rendering(scan)
        return self._source.examine(first, rendering.channel).pixel_size

    def _place(self, scan: ScanFiles) -> list[mosaic.PlacedTile]:
        if scan.name not in self._placed:
            self._placed[scan.name] = self._layout.place_tiles(scan)
        return self._placed[scan.name]

    def read_pieces(
        self, group: ImageGroup, images: Collection[int], skipped: list[Skipped]
    ) -> Iterator[Piece]:
        """See `Pixels`."""
        scan = self._scans.get(group.name)
        if scan is None:
            entry: Skipped = {"source": group.name, "reason": "there is no such image"}
            if entry not in skipped:  # it is there if its size was asked for
                skipped.append(entry)
            return
        try:
            places = [(tile.x, tile.y) for tile in self._place(scan)] if scan.placed else [(0, 0)]
            size = self.measure(group.name)
        except ValueError as error:
            skipped.append({"source": group.name, "reason": str(error)})
            return
        if max(abs(size[0] - group.width), abs(size[1] - group.height)) > MOVED:
            reason = (
                f"{size[0]} × {size[1]} px here, and {group.width} × {group.height} px where "
                "it was detected in"
            )
            skipped.append({"source": group.name, "reason": reason})
            return
        rendering, depth = self._source.choose_rendering(scan), self._source.options.depth
        wanted = {marked.plane for marked in group.objects}
        for (left, top), tile in zip(places, scan.tiles, strict=True):
            try:
                planes = open_planes(tile.files, rendering, depth, self._source.open_ahead)
            except UnreadableImage as error:
                skipped.append({"source": tile.name, "reason": error.reason})
                continue
            # The planes that objects are on; the first where there are none.
            for plane in [plane for plane in planes if plane.number in wanted] or planes[:1]:
                for window in plane.read_windows(WINDOW, 0):
                    at = left + window.left, top + window.top
                    yield Piece(0, plane.number, *at, window.pixels)
                if plane.failure:
                    skipped.append({"source": tile.name, "reason": plane.failure})
