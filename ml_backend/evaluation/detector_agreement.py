"""Whether two detectors say the same of the same images, as far as their user would notice.

Pure. One is the reference: what was decided by looking at its boxes (the threshold, a
promotion) holds for the other where they agree.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ml_backend.evaluation.matching import match_boxes
from ml_backend.imaging.boxes import Boxes, compute_iou


@dataclass(frozen=True)
class Margins:
    """What two detectors may differ by and still be used for each other.

    The numbers are what a second look would not tell apart: annotators place an edge anew by
    more than a pixel, and one box in fifty is nearer to the threshold than to a decision.

    tiles: looked at, at least. f1: of the one's boxes where the other's are the truth, overlap
    one half, at least. same: share of tiles in which both or neither find something, at least.
    shift: median of how far the edges of boxes that agree lie apart, px, at most.
    """

    tiles: int = 1000
    f1: float = 0.98
    same: float = 0.99
    shift: float = 1.0


MARGINS = Margins()


@dataclass(frozen=True)
class Agreement:
    """tiles: how many were looked at. boxes: the two detectors' boxes. f1, same, shift: as of
    `Margins`; None where neither has a box. Only the headline classes count."""

    tiles: int
    boxes: tuple[int, int]
    f1: float | None
    same: float | None
    shift: float | None

    def doubts(self, margins: Margins = MARGINS) -> list[str]:
        """Why the two may not be used for each other; empty where they may."""
        doubts = []
        if self.tiles < margins.tiles:
            doubts.append(f"only {self.tiles} tiles were compared; {margins.tiles} are needed")
        if self.f1 is None or self.same is None or self.shift is None:
            return [*doubts, "nothing was found in any of them, so nothing was compared"]
        if self.f1 < margins.f1:
            doubts.append(f"F1 against full precision is {self.f1:.3f}, below {margins.f1}")
        if self.same < margins.same:
            doubts.append(
                f"{self.same:.1%} of the tiles are found or empty in both, below {margins.same:.1%}"
            )
        if self.shift > margins.shift:
            doubts.append(f"boxes move by {self.shift:.2f} px (median), above {margins.shift}")
        return doubts

    def to_json(self, margins: Margins = MARGINS) -> dict[str, Any]:
        doubts = self.doubts(margins)
        return {**asdict(self), "margins": asdict(margins), "accepted": not doubts, "why": doubts}


def agreement(pairs: Iterable[tuple[Boxes, Boxes]], headline: Sequence[str]) -> Agreement:
    """How far two detectors agree. pairs: the reference's and the other's boxes of each tile,
    from the threshold on, the most confident first. headline: the classes that count."""
    tiles = same = hits = reference = other = 0
    shifts: list[np.ndarray] = []
    for one, two in pairs:
        one, two = (boxes.where(np.isin(boxes.label, list(headline))) for boxes in (one, two))
        tiles += 1
        same += bool(len(one)) == bool(len(two))
        reference, other = reference + len(one), other + len(two)
        for name in np.unique(two.label):
            there, here = one.where(one.label == name).xyxy, two.where(two.label == name).xyxy
            hit = match_boxes(here, there, np.zeros((0, 4)))[0][0]
            hits += int(hit.sum())
            if hit.any():
                nearest = there[compute_iou(here[hit], there).argmax(axis=1)]
                shifts.append(np.abs(here[hit] - nearest).ravel())
    if not reference + other:
        return Agreement(tiles, (0, 0), None, None, None)
    return Agreement(
        tiles,
        (reference, other),
        round(2 * hits / (reference + other), 4),
        round(same / tiles, 4),
        round(float(np.median(np.concatenate(shifts))), 3) if shifts else None,
    )
