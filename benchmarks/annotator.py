"""A person who corrects the boxes that are shown, as benchmarks play one."""

from __future__ import annotations

from typing import Any

import numpy as np

from ml_backend.imaging.boxes import compute_iou


def correct_regions(
    shown: list[dict[str, Any]], truth: list[dict[str, Any]], *, stays: float, moved: float
) -> tuple[list[dict[str, Any]], int]:
    """Keep what lies well, move what does not, draw what is missing, delete the rest.

    Args:
        shown: Rectangles of a pre-annotation, as Label Studio writes them.
        truth: Those that should be there.
        stays: IoU from which a region is left as it is.
        moved: IoU from which it is moved rather than drawn anew.

    Returns:
        The regions of the annotation, and how many were moved, drawn or deleted.
    """
    overlap = compute_iou(read_corners(truth), read_corners(shown))
    corrected, untouched, kept = [], 0, 0
    for number, drawn in enumerate(truth):
        place = int(overlap[number].argmax()) if shown else 0
        fit = overlap[number, place] if shown else 0.0
        if fit < moved:
            corrected.append(drawn)
            continue
        corrected.append(shown[place] if fit >= stays else shown[place] | {"value": drawn["value"]})
        overlap[:, place] = 0
        kept += 1
        untouched += int(fit >= stays)
    return corrected, len(truth) - untouched + len(shown) - kept


def read_corners(regions: list[dict[str, Any]]) -> np.ndarray:
    """Read the corners of rectangles, (R, 4), in percent of the sides, which IoU does not mind."""
    values = [region["value"] for region in regions]
    corners = [(v["x"], v["y"], v["x"] + v["width"], v["y"] + v["height"]) for v in values]
    return np.array(corners, float).reshape(-1, 4)
