"""The detections of a file or a folder of images, without Label Studio.

What was found is written as it comes, so memory does not grow with the folder. A file or a
plane that cannot be read is listed with its reason and harms no other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import TypedDict

from ml_backend.dataset.annotation_formats.records import Detected, Detection
from ml_backend.learners.detector.inference import Detector
from tasks.detection.scan_detector import Finder, How
from tasks.detection.scan_result import Sheet
from tasks.exchange.detection_files import open_writer
from tasks.sources.discover import Skipped

# Every file by itself, in its own coordinates, whatever its name says.
APART = How(apart=True)


class Summary(TypedDict):
    """tiles: planes that were read; a plain image is one. seconds: from start to end.
    detections: how many objects. emptied: windows skipped as empty, run all the same, and of
    those with an object. notes: how the source was understood."""

    tiles: int
    seconds: float
    tiles_per_second: float
    detections: int
    emptied: dict[str, int]
    skipped: list[Skipped]
    model: str
    notes: list[str]


def detect(
    source: Path,
    detector: Detector,
    out: Path,
    model: str,
    progress: Callable[[float, float], None],
    how: How = How(),
    overlap: int | None = None,
    cluster: Path | None = None,
    skip_empty: bool = False,
) -> Summary:
    """Detect in an image or scan, or in every one of a folder and its folders, and write `out`.

    out: its ending chooses one of `formats.FILES`. Scans come in natural order, named by
    their path within the folder, each with its detections by falling confidence, in px of the
    scan as shown; plane is that of the file's name, or the page in the file. Tiles whose names
    give row and column are one scan, named by their folder. An object over several windows,
    tiles, or planes of a stack, is one detection. The file appears when it is complete.
    model: the version's name, for the summary. progress: called with (done, all) files.
    overlap: between the windows that we cut, px; by the objects' size where not given. cluster,
    skip_empty: as of `Finder`.

    Raises FileNotFoundError when there is no source, ValueError when `out` has another
    ending or the folder holds no image, OSError when `out` cannot be written.
    """
    started = time.perf_counter()
    writing = open_writer(out)
    finder = Finder(
        source,
        detector,
        how,
        overlap=overlap,
        cluster=cluster,
        skip_empty=skip_empty,
        progress=progress,
    )
    detections = 0
    with writing as add:
        for found in _detected_by(finder):
            add(found)
            detections += len(found.detections)
    seconds = time.perf_counter() - started
    return {
        "tiles": finder.tiles,
        "seconds": round(seconds, 3),
        "tiles_per_second": round(finder.tiles / seconds, 2),
        "detections": detections,
        "emptied": asdict(finder.emptied),
        "skipped": finder.skipped,
        "model": model,
        "notes": finder.notes,
    }


def detected_in(
    source: Path,
    detector: Detector,
    progress: Callable[[float, float], None],
    how: How = APART,
) -> Iterator[Detected | Skipped]:
    """What each image or scan of a source shows, in natural order, or what was left out and why.

    As of `detect`; of a stack some planes may be left out and the others answered.
    Raises FileNotFoundError and ValueError as `detect` does, at the first one asked for.
    """
    finder = Finder(source, detector, how, progress=progress)
    told = 0
    for found in _detected_by(finder):
        yield found
        yield from finder.skipped[told:]
        told = len(finder.skipped)
    yield from finder.skipped[told:]


def _detected_by(finder: Finder) -> Iterator[Detected]:
    """A file may hold several stacks, which follow one another."""
    for _, sheets in groupby(finder.sheets(), key=lambda sheet: sheet.mosaic.name):
        yield _detected(list(sheets))


def _detected(sheets: list[Sheet]) -> Detected:
    found = [
        Detection(
            round(x1, 2),
            round(y1, 2),
            round(x2, 2),
            round(y2, 2),
            str(label),
            round(float(confidence), 4),
            int(plane),
            bool(partial),
        )
        for sheet in sheets
        for (x1, y1, x2, y2), label, confidence, partial, plane in zip(
            sheet.objects.xyxy.tolist(),
            sheet.objects.label,
            sheet.objects.confidence,
            sheet.objects.partial,
            sheet.best,
            strict=True,
        )
    ]
    found.sort(key=lambda one: -one.confidence)
    first = sheets[0].mosaic
    planes = sum(sheet.tiles for sheet in sheets)
    return Detected(first.name, first.width, first.height, found, planes)
