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
from ml_backend.learners.base import ObjectDetector, RegionChooser
from ml_backend.learners.kinds import chooses_for_regions
from tasks.detection.name_objects import name_objects
from tasks.detection.scan_detector import ScanDetector
from tasks.detection.scan_result import ScanResult
from tasks.exchange.detection_files import open_writer
from tasks.sources.discover import Skipped
from tasks.sources.scan_source import SourceOptions

# Every file by itself, in its own coordinates, whatever its name says.
APART = SourceOptions(apart=True)


class DetectionSummary(TypedDict):
    """What `detect` did.

    Attributes:
        tiles: Planes that were read; a plain image is one.
        seconds: From start to end.
        tiles_per_second: The one by the other.
        detections: How many objects.
        emptied: Windows skipped as empty, run all the same, and of those with an object.
        skipped: What was left out, and why.
        model: The version's name.
        notes: How the source was understood.
    """

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
    detector: ObjectDetector,
    out: Path,
    model: str,
    progress: Callable[[float, float], None],
    options: SourceOptions = SourceOptions(),
    overlap: int | None = None,
    cluster: Path | None = None,
    skip_empty: bool = False,
) -> DetectionSummary:
    """Detect in an image or scan, or in every one of a folder and its folders, and write `out`.

    Scans come in natural order, named by their path within the folder, each with its detections
    by falling confidence, in px of the scan as shown; plane is that of the file's name, or the
    page in the file. Tiles whose names give row and column are one scan, named by their folder.
    An object over several windows, tiles, or planes of a stack, is one detection. One of which
    the version chooses something, such as a stage, is called by that. The file appears when it is
    complete.

    Args:
        source: An image, a scan, or a folder of them.
        detector: What detects.
        out: The file; its ending chooses one of `formats.FILES`.
        model: The version's name, for the summary.
        progress: Called with (done, all) files.
        options: How the source is read.
        overlap: What the windows of a large image share, px; by the objects' size where not given.
        cluster: See `ScanDetector`.
        skip_empty: See `ScanDetector`.

    Raises:
        FileNotFoundError: There is no source.
        ValueError: `out` has another ending, or the folder holds no image.
        OSError: `out` cannot be written.
    """
    started = time.perf_counter()
    writing = open_writer(out)
    scans = ScanDetector(
        source,
        detector,
        options,
        overlap=overlap,
        cluster=cluster,
        skip_empty=skip_empty,
        progress=progress,
    )
    detections = 0
    with writing as add:
        for found in iterate_scans(scans, detector if chooses_for_regions(detector) else None):
            add(found)
            detections += len(found.detections)
    seconds = time.perf_counter() - started
    return {
        "tiles": scans.tiles,
        "seconds": round(seconds, 3),
        "tiles_per_second": round(scans.tiles / seconds, 2),
        "detections": detections,
        "emptied": asdict(scans.emptied),
        "skipped": scans.skipped,
        "model": model,
        "notes": scans.notes,
    }


def iterate_detections(
    source: Path,
    detector: ObjectDetector,
    progress: Callable[[float, float], None],
    options: SourceOptions = APART,
) -> Iterator[Detected | Skipped]:
    """Yield what each image or scan of a source shows, or what was left out and why.

    In natural order; of a stack some planes may be left out and the others answered.

    Args:
        source: An image, a scan, or a folder of them.
        detector: What detects.
        progress: Called with (done, all) files.
        options: How the source is read.

    Raises:
        FileNotFoundError: There is no source.
        ValueError: The folder holds no image.
    """
    scans = ScanDetector(source, detector, options, progress=progress)
    told = 0
    for found in iterate_scans(scans):
        yield found
        yield from scans.skipped[told:]
        told = len(scans.skipped)
    yield from scans.skipped[told:]


def iterate_scans(scans: ScanDetector, chooser: RegionChooser | None = None) -> Iterator[Detected]:
    """Yield what each scan of a source shows; a file may hold several stacks, which are one.

    Args:
        scans: Detects in the source.
        chooser: Chooses for what was detected, see `name_objects`; labels stay where None.
    """
    for _, results in groupby(scans.detect_scans(), key=lambda result: result.mosaic.name):
        yield _detected(list(results), chooser)


def _detected(results: list[ScanResult], chooser: RegionChooser | None) -> Detected:
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
        for result in results
        for (x1, y1, x2, y2), label, confidence, partial, plane in zip(
            result.objects.xyxy.tolist(),
            name_objects(result, chooser) if chooser else result.objects.label,
            result.objects.confidence,
            result.objects.partial,
            result.best,
            strict=True,
        )
    ]
    found.sort(key=lambda detection: -detection.confidence)
    first = results[0].mosaic
    planes = sum(result.tiles for result in results)
    return Detected(first.name, first.width, first.height, found, planes)
