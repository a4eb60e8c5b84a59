"""A version in 8-bit integers (INT8), fitted to and compared on the user's own tiles."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from itertools import tee
from pathlib import Path
from typing import Any

import numpy as np

from ml_backend.evaluation.detector_agreement import MARGINS, Margins, compare_detectors
from ml_backend.imaging.boxes import Boxes
from ml_backend.learners.base import ObjectDetector
from ml_backend.learners.int8 import NotQuantized, load_form, make_int8
from ml_backend.registry.resolve import INT8_REPORT, store_int8
from ml_backend.system.atomic_files import read_json
from tasks.detection.scan_detector import Progress
from tasks.detection.tile_sampling import TileSampler
from tasks.sources.scan_source import ScanSource, SourceOptions

TILE = 1024  # px a side of the tiles that a larger image is cut into
FIT = 11  # one tile of so many is what the form is fitted to; it is compared on the others


def quantize(
    source: Path,
    version: Path,
    progress: Progress,
    options: SourceOptions = SourceOptions(),
    margins: Margins = MARGINS,
) -> dict[str, Any]:
    """Make the INT8 form of a version, and keep it where it agrees with the version.

    The form is fitted to some tiles of the source and compared on others, see `agreement`.

    Args:
        source: Tiles as they will be scanned.
        version: The folder of the version.
        progress: Called with (done, all) compared tiles.
        options: How the source is read.
        margins: How far the form has to agree.

    Returns:
        What was found out, with what was left out of the source.

    Raises:
        NotQuantized: No tile can be read, or the form cannot be made.
        FileNotFoundError: There is no source.
        ValueError: The source holds no image.
    """
    scans = ScanSource(source, options)
    sampler = TileSampler(scans, TILE)
    most = margins.tiles * FIT // (FIT - 1) + FIT
    full = load_form(version, version).adapt_to(scans.pixel_size)
    chosen = sampler.read_tiles(most, lambda number: number % FIT == 0)
    with tempfile.TemporaryDirectory() as name:
        made = Path(name)
        fitted = make_int8(version, chosen, scans.pixel_size, made)
        if not fitted:
            raise NotQuantized(f"no tile in {source} can be read")
        other = load_form(version, made).adapt_to(scans.pixel_size)
        compared = sampler.read_tiles(most, lambda number: number % FIT != 0)
        pairs = _pairs(full, other, compared, lambda done: progress(done, most - most // FIT))
        report = compare_detectors(pairs, full.card.headline).to_json(margins)
        del other, pairs  # Windows removes no file that is open
        report["fitted"] = fitted
        store_int8(version, made, report)
    return {**report, "skipped": [*scans.skipped, *sampler.skipped]}


def _pairs(
    full: ObjectDetector,
    other: ObjectDetector,
    tiles: Iterator[np.ndarray],
    progress: Callable[[int], None],
) -> Iterator[tuple[Boxes, Boxes]]:
    answers = (form.stream(same) for form, same in zip((full, other), tee(tiles), strict=True))
    for done, pair in enumerate(zip(*answers, strict=True), start=1):
        progress(done)
        yield pair


def describe_agreement(folder: Path) -> str:
    """Say how far an INT8 form, in its folder, agreed with full precision, and what was asked."""
    report: dict[str, Any] = read_json(folder / INT8_REPORT) or {}
    margins = Margins(**report["margins"])
    return (
        f"looked at in 8-bit integers, whose boxes agreed with full precision on {report['tiles']} "
        f"tiles: F1 {report['f1']:.3f} (at least {margins.f1:g}), found or empty in both "
        f"{report['same']:.1%} (at least {margins.same:.0%}), moved by {report['shift']:.2f} px "
        f"(median, at most {margins.shift:g})"
    )


def describe_result(version: str, result: dict[str, Any]) -> list[str]:
    """Say in words what `quantize` answered."""
    if result["f1"] is not None:
        figures = (
            f"compared on {result['tiles']} tiles: F1 of its boxes against full precision "
            f"{result['f1']:.3f}, found or empty in both {result['same']:.1%} of the tiles, "
            f"boxes moved by {result['shift'] or 0:.2f} px (median)"
        )
    else:
        figures = f"compared on {result['tiles']} tiles, where neither found anything"
    if result["accepted"]:
        return [f"{version} has an INT8 form now, which detect and scan use", figures]
    return [f"the INT8 form of {version} is not accepted: {'; '.join(result['why'])}", figures]
