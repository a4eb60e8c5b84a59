"""Mitotic index and stages: what share of the cells divides, and how sure that is. Pure.

Only where interphase nuclei were marked: without them there is nothing to divide by. A share
of reviewed cells has an interval; one of detected cells has none, because how far the
detector is off is not a matter of how much it counted.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ml_backend.label_studio.class_names import STAGES, canonicalize, is_mitotic
from tasks.reports.counts import Field

INTERPHASE = "Interphase"
LEVEL = 0.95


@dataclass(frozen=True)
class Index:
    """part of whole: how many cells of a kind, of all cells or of the dividing ones.

    kind: 'mitotic', or a stage. of: 'cells' or 'dividing cells'. value: 0..1, weighted where
    only a sample of a scan was sent for review. interval: LEVEL; None for detected cells,
    and for those of a single image. images: that the cells are on.
    """

    scan: str
    kind: str
    of: str
    reviewed: bool
    part: int
    whole: int
    value: float
    interval: tuple[float, float] | None
    images: int


def indices(fields: Iterable[Field]) -> list[Index]:
    """Of each scan, in the order of the fields, for reviewed and for detected cells apart."""
    scans: dict[str, list[Field]] = {}
    for one in fields:
        scans.setdefault(one.scan, []).append(one)
    found: list[Index] = []
    for scan, members in scans.items():
        for reviewed in (True, False):
            images, weights = _images(members, reviewed)
            if any(INTERPHASE in labels for labels in images):
                found += _of_scan(scan, reviewed, images, np.array(weights))
    return found


def _images(fields: Sequence[Field], reviewed: bool) -> tuple[list[list[str]], list[float]]:
    """The classes of the cells on each image, by their one name, and the images' weights."""
    images, weights = [], []
    state = "reviewed" if reviewed else "detected"
    for one in fields:
        labels: list[list[str]] = [[] for _ in one.looks]
        for thing in one.things:
            labels[thing.look].append(canonicalize(thing.label))
        for look, names in zip(one.looks, labels, strict=True):
            if look.state == state:
                images.append(names)
                weights.append(look.weight)
    return images, weights


def _of_scan(
    scan: str, reviewed: bool, images: Sequence[Sequence[str]], weights: np.ndarray
) -> list[Index]:
    dividing = np.array([sum(map(is_mitotic, names)) for names in images])
    cells = dividing + np.array([names.count(INTERPHASE) for names in images])
    asked = [("mitotic", "cells", dividing, cells)]
    for stage in STAGES:
        part = np.array([names.count(stage) for names in images])
        if part.any():
            asked += [
                (stage, "cells", part, cells),
                (stage, "dividing cells", part, dividing),
            ]
    return [
        Index(
            scan,
            kind,
            of,
            reviewed,
            int(part.sum()),
            int(whole.sum()),
            float(weights @ part / (weights @ whole)),
            interval(part, whole, weights) if reviewed else None,
            int(np.count_nonzero(whole)),
        )
        for kind, of, part, whole in asked
    ]


def interval(
    part: np.ndarray, whole: np.ndarray, weights: np.ndarray | None = None
) -> tuple[float, float] | None:
    """The interval of a share, sum(part) of sum(whole), counted on several images (k,).

    Cells of one image resemble each other, so they say less than as many of different
    images: Wilson's interval, with the number of cells divided by the design effect that the
    spread between the images shows, at k - 1 degrees of freedom (Korn and Graubard 1998,
    with Wilson's limits as in Dean and Pagano 2015). None for less than two images.
    """
    from scipy.special import ndtri, stdtrit  # of the normal and of Student's distribution

    weights = np.ones(len(whole)) if weights is None else weights
    images, cells = int(np.count_nonzero(whole)), float(whole.sum())
    if images < 2:
        return None
    z = float(ndtri((1 + LEVEL) / 2))
    total = float(weights @ whole)
    share = float(weights @ part) / total
    # The ratio's variance, by its residuals on each image (Cochran 1977, 6.4).
    spread = weights * (part - share * whole)
    variance = images / (images - 1) * float(spread @ spread) / total**2
    alone = share * (1 - share) / cells
    effect = max(1.0, variance / alone) if alone > 0 else 1.0
    number = cells / effect * (z / float(stdtrit(images - 1, (1 + LEVEL) / 2))) ** 2
    centre = (share + z**2 / (2 * number)) / (1 + z**2 / number)
    half = z * math.sqrt(share * (1 - share) / number + z**2 / (4 * number**2))
    half /= 1 + z**2 / number
    # Rounding must not push a limit past the share itself, where that is 0 or 1.
    return min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half))
