"""Telling what the images of a source show: each whole, or cut into the tiles that become tasks.

A model of choices looks at a window as a detector does, and answers a box for each class, as large
as the window. So what opens files, remembers and goes on after a stop is the same for both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ml_backend.imaging.decode import MAX_DECODED
from ml_backend.imaging.merge_detections import Objects, WindowDetections
from ml_backend.imaging.sliding_windows import Plane, Window
from ml_backend.learners.base import Model, Picture
from ml_backend.learners.kinds import check_names_images
from ml_backend.learners.model_file import ModelCard
from tasks.detection.accumulator import FileUnit, ScanAccumulator
from tasks.detection.scan_walk import Progress, ScanWalk
from tasks.detection.window_detector import DetectionMemory, NoMemory, WindowDetector
from tasks.mosaic.mosaic import Mosaic
from tasks.mosaic.rect_index import plan_tiles
from tasks.readers.planes import DecodedPlane, Rect, ScanPlane
from tasks.sources.scan_source import SourceOptions

ENDLESS = 1 << 40  # px; a window of such a side splits nothing

Choices = dict[str, float]
"""Class → probability, 0..1."""


@dataclass(frozen=True)
class ClassifiedScan:
    """A scan, or a stack of one, with what its tiles show.

    Attributes:
        mosaic: Where its tiles lie.
        tiles: How many planes were read, of all tiles.
        choices: By plane and tile, what a picture of it shows.
    """

    mosaic: Mosaic
    tiles: int
    choices: dict[int, dict[Rect, Choices]]


class ScanClassifier(ScanWalk):
    """Classifies all of a source, once."""

    def __init__(
        self,
        source: Path,
        model: Model,
        options: SourceOptions,
        *,
        most: int | None = None,
        memory: DetectionMemory | None = None,
        progress: Progress = lambda done, total: None,
    ) -> None:
        """Examine the source.

        Args:
            source: An image, a scan, or a folder of them.
            model: Answers choices.
            options: How the source is read.
            most: The largest side of a tile, px, see `plan_tiles`; None to look at images whole.
            memory: Of what was classified before; else nothing is remembered.
            progress: Called with (done, all) files.

        Raises:
            FileNotFoundError: There is no source.
            ValueError: It holds no image, an option cannot be met, or the model names boxes.
        """
        check_names_images(model)
        super().__init__(source, options, progress)
        self._model, self._most = model, most
        self._memory = memory

    def classify_scans(self) -> Iterator[ClassifiedScan]:
        """Yield what the scans show, in natural order.

        A scan of which nothing could be read is not among them.
        """
        detector = WindowDetector(
            _WindowClassifier(self._model, self.pixel_size),
            self._memory or NoMemory(),
            self._most or 0,
            0,
            self._open_tiled,
            # Without a memory nobody reads the marks, and of small images they cost a tenth.
            (lambda unit: unit.mark) if self._memory else (lambda unit: ""),
        )
        for scan in self.walk(detector):
            yield from self._read_stacks(scan)

    def _open_tiled(self, unit: FileUnit) -> Callable[[], list[ScanPlane]]:
        opening = self.open_unit(unit)
        return lambda: [
            _TiledPlane(plane.number, plane.stack, plane.plane, plane.failure)
            for plane in opening()
        ]

    def _read_stacks(self, scan: ScanAccumulator) -> Iterator[ClassifiedScan]:
        for mosaic, stack in self.take_stacks(scan):
            choices = {
                number: _group_by_tile(buffer.join())
                for number, buffer in sorted(stack.buffers.items())
            }
            yield ClassifiedScan(mosaic, stack.tiles, choices)


def refuse_detector_options(**given: bool) -> None:
    """Refuse options that mean nothing where windows hold no objects.

    Args:
        **given: An option by its name in Python → whether it was given.

    Raises:
        ValueError: One was.
    """
    if names := [f"--{name.replace('_', '-')}" for name, is_given in given.items() if is_given]:
        raise ValueError(
            f"{', '.join(names)}: only for detectors; this version is a classifier, which looks "
            "at images and tiles as a whole"
        )


class _TiledPlane(ScanPlane):
    """A plane whose windows are its tiles; a side of 0 leaves it whole."""

    def read_windows(self, side: int, overlap: int, halved: int = 0) -> Iterator[Window]:
        if not side and 3 * self.width * self.height > MAX_DECODED:
            self.failure = "it is too large to be looked at as a whole; cut it into tiles"
            return
        if not side and isinstance(self.plane, DecodedPlane):  # nothing is copied
            yield Window(0, 0, self.plane.pixels)
            return
        rows, columns = plan_tiles(self.width, self.height, side or max(self.width, self.height))
        rects = [(left, top, right, bottom) for top, bottom in rows for left, right in columns]
        for number, pixels in self.read_parts(rects):
            yield Window(*rects[number][:2], pixels)


@dataclass(frozen=True)
class _WindowClassifier:
    """A model of choices that looks at windows as a detector does."""

    model: Model
    pixel_size: float | None
    halvings: int = 0

    @property
    def card(self) -> ModelCard:
        return self.model.card

    def find_objects(
        self, planes: Iterable[Plane], floor: float | None = None
    ) -> Iterator[Objects]:
        """Yield the classes of each plane, in order, whatever the floor."""
        for prediction in self.model.predict(self._read_pictures(planes), floor):
            number = len(prediction.choices)
            yield Objects(
                np.tile(np.array([0, 0, *prediction.size], np.float64), (number, 1)),
                np.array(list(prediction.choices), np.str_),
                np.array(list(prediction.choices.values()), np.float32),
                np.zeros(number, bool),
            )

    def _read_pictures(self, planes: Iterable[Plane]) -> Iterator[Picture]:
        for plane in planes:
            for window in plane.read_windows(ENDLESS, 0):
                yield Picture(window.pixels, self.pixel_size)


def _group_by_tile(found: WindowDetections) -> dict[Rect, Choices]:
    tiles: dict[Rect, Choices] = {}
    rows = zip(found.view.tolist(), found.label.tolist(), found.confidence.tolist(), strict=True)
    for (left, top, right, bottom), label, probability in rows:
        tiles.setdefault((left, top, right, bottom), {})[label] = round(probability, 4)
    return tiles
