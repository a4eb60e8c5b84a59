"""The mitotic index and the phase indices, with their confidence intervals. Pure functions.

There is an index only where interphase nuclei are marked: without them the number of all cells
is not known. An index of reviewed cells has an interval. One of detected cells has none,
because the error of the detector does not shrink with the number of cells that it counts.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ml_backend.label_studio.class_names import STAGES, canonicalize, is_mitotic
from tasks.reports.counts import ImageGroup

INTERPHASE = "Interphase"
LEVEL = 0.95  # of the intervals


@dataclass(frozen=True)
class MitoticIndex:
    """The mitotic index of a scan, or the index of a phase.

    Attributes:
        scan: The scan or sample.
        kind: 'mitotic', or a phase.
        of: What it is a share of: 'cells' or 'dividing cells'.
        reviewed: Whether a person submitted the cells; else the detector found them.
        part: How many cells of this kind were counted.
        whole: Of how many.
        value: The share, 0..1; weighted where only a sample of a scan was sent for review.
        interval: (low, high) at LEVEL; None for detected cells, and for those of a single
            image.
        images: How many images the cells are on.
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


def compute_indices(
    groups: Iterable[ImageGroup], dividing: Collection[str] = ()
) -> list[MitoticIndex]:
    """Compute the indices of each scan, for reviewed and for detected cells apart.

    Args:
        groups: Their images and objects.
        dividing: Classes of dividing cells, beside those that `is_mitotic` knows.

    Returns:
        The indices, in the order of the groups; none of a scan without interphase nuclei.
    """
    scans: dict[str, list[ImageGroup]] = {}
    for group in groups:
        scans.setdefault(group.scan, []).append(group)
    found: list[MitoticIndex] = []
    others = frozenset(map(canonicalize, dividing))
    for scan, members in scans.items():
        for reviewed in (True, False):
            images, weights = _list_cells(members, reviewed)
            if any(INTERPHASE in labels for labels in images):
                found += _compute_indices_of_scan(scan, reviewed, images, np.array(weights), others)
    return found


def _list_cells(
    groups: Sequence[ImageGroup], reviewed: bool
) -> tuple[list[list[str]], list[float]]:
    """The canonical classes of the cells on each image, and the weights of the images."""
    images, weights = [], []
    state = "reviewed" if reviewed else "detected"
    for group in groups:
        labels: list[list[str]] = [[] for _ in group.images]
        for marked in group.objects:
            labels[marked.image].append(canonicalize(marked.label))
        for image, names in zip(group.images, labels, strict=True):
            if image.state == state:
                images.append(names)
                weights.append(image.weight)
    return images, weights


def _compute_indices_of_scan(
    scan: str,
    reviewed: bool,
    images: Sequence[Sequence[str]],
    weights: np.ndarray,
    others: frozenset[str],
) -> list[MitoticIndex]:
    dividing = np.array(
        [sum(is_mitotic(name) or name in others for name in names) for names in images]
    )
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
        MitoticIndex(
            scan,
            kind,
            of,
            reviewed,
            int(part.sum()),
            int(whole.sum()),
            float(weights @ part / (weights @ whole)),
            compute_interval(part, whole, weights) if reviewed else None,
            int(np.count_nonzero(whole)),
        )
        for kind, of, part, whole in asked
    ]


def compute_interval(
    part: np.ndarray, whole: np.ndarray, weights: np.ndarray | None = None
) -> tuple[float, float] | None:
    """Compute the confidence interval of a share that was counted on several images.

    Cells of one image resemble each other, so they tell less than as many cells of different
    images. It is Wilson's interval, with the number of cells divided by the design effect that
    the spread between the images shows, at k - 1 degrees of freedom (Korn and Graubard 1998,
    with Wilson's limits as in Dean and Pagano 2015).

    Args:
        part: Cells of the kind on each image, (k,).
        whole: All cells on each image, (k,).
        weights: How many images each stands for, (k,); None for one each.

    Returns:
        (low, high) at LEVEL, around the weighted share; None for less than two images with
        cells.
    """
    from scipy.special import ndtri, stdtrit  # quantiles of the normal and of Student's t

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
