"""How many of the images are called what, as shares with confidence intervals. Pure functions.

Shares of reviewed images have an interval. Those of images that only a classifier saw have none,
because its error does not shrink with their number.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tasks.reports.counts import ImageGroup, ReportImage
from tasks.reports.mitotic_index import compute_interval

ALL = "all"


@dataclass(frozen=True)
class ClassShare:
    """The share of a sample's images that are called so.

    Attributes:
        scan: The scan or sample; ALL for all of them together, where there are several.
        label: The class.
        reviewed: Whether a person named the images; else the classifier did.
        part: How many images are called so.
        whole: Of how many.
        value: The share, 0..1; weighted where only a sample of a scan was sent for review.
        low: The lower limit of the 95 % interval; None for images that nobody reviewed, and for
            less than two images, or of ALL two samples.
        high: The upper limit.
    """

    scan: str
    label: str
    reviewed: bool
    part: int
    whole: int
    value: float
    low: float | None
    high: float | None


def compute_shares(groups: Iterable[ImageGroup], classes: Sequence[str]) -> list[ClassShare]:
    """Compute the share of each class in each scan or sample, reviewed and not reviewed apart.

    Within a sample the images are the units of the interval; over several samples these are,
    because images of one sample resemble each other, see `compute_interval`.

    Args:
        groups: Each a single image, whose objects are its classes.
        classes: In the order of the report.

    Returns:
        By scan, in the order of the groups, then by class; those of ALL last.
    """
    scans: dict[str, list[ImageGroup]] = {}
    for group in groups:
        scans.setdefault(group.scan, []).append(group)
    shares = []
    for reviewed in (True, False):
        named = {scan: _list_named(members, reviewed) for scan, members in scans.items()}
        named = {scan: images for scan, images in named.items() if images}
        for label in classes:
            sums = []
            for scan, images in named.items():
                part = np.array([label in names for _, names in images], float)
                weights = np.array([image.weight for image, _ in images])
                shares.append(_share(scan, label, reviewed, part, np.ones(len(part)), weights))
                sums.append((weights @ part, weights.sum(), part.sum(), len(part)))
            if len(named) > 1:
                weighted, size, part, whole = np.array(sums).T
                total = _share(ALL, label, reviewed, weighted, size, np.ones(len(size)))
                counts = {"part": int(part.sum()), "whole": int(whole.sum())}
                shares.append(ClassShare(**{**vars(total), **counts}))
    order = {scan: number for number, scan in enumerate((*scans, ALL))}
    return sorted(shares, key=lambda share: (order[share.scan], not share.reviewed))


def _list_named(
    groups: Sequence[ImageGroup], reviewed: bool
) -> list[tuple[ReportImage, frozenset[str]]]:
    state = "reviewed" if reviewed else "detected"
    return [
        (image, frozenset(marked.label for marked in group.objects if marked.image == number))
        for group in groups
        for number, image in enumerate(group.images)
        if image.state == state
    ]


def _share(
    scan: str,
    label: str,
    reviewed: bool,
    part: np.ndarray,
    whole: np.ndarray,
    weights: np.ndarray,
) -> ClassShare:
    interval = compute_interval(part, whole, weights) if reviewed else None
    low, high = interval or (None, None)
    value = float(weights @ part / (weights @ whole))
    return ClassShare(scan, label, reviewed, int(part.sum()), int(whole.sum()), value, low, high)
