"""Whether two detectors agree closely enough that one can be used in place of the other.

The first is the reference: what was decided by looking at its boxes (the threshold, a
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
    """How much two detectors may differ and still be used in place of each other.

    A person who marks the same objects twice differs by more than this: annotators place an
    edge again more than a pixel away, and one box in fifty is so close to the threshold that
    it may fall on either side.

    Attributes:
        tiles: The fewest tiles that must be compared.
        f1: The lowest F1 (0..1) of the other's boxes, where the reference's are the truth, at
            IoU 0.5.
        same: The smallest share (0..1) of tiles in which both or neither find something.
        shift: The largest median distance in px between the edges of boxes that agree.
    """

    tiles: int = 1000
    f1: float = 0.98
    same: float = 0.99
    shift: float = 1.0


MARGINS = Margins()


@dataclass(frozen=True)
class Agreement:
    """How far two detectors agree; only headline classes count.

    Attributes:
        tiles: How many tiles were compared.
        boxes: How many boxes the reference and the other found.
        f1: See `Margins`; None where neither found a box.
        same: See `Margins`; None where neither found a box.
        shift: See `Margins`; None where no boxes agree.
    """

    tiles: int
    boxes: tuple[int, int]
    f1: float | None
    same: float | None
    shift: float | None

    def list_doubts(self, margins: Margins = MARGINS) -> list[str]:
        """List why the two may not be used in place of each other; empty where they may."""
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
        """Convert to plain values, with the margins and whether they are kept."""
        doubts = self.list_doubts(margins)
        return {**asdict(self), "margins": asdict(margins), "accepted": not doubts, "why": doubts}


def compare_detectors(pairs: Iterable[tuple[Boxes, Boxes]], headline: Sequence[str]) -> Agreement:
    """Measure how far two detectors agree.

    Args:
        pairs: The reference's and the other's boxes of each tile, those above the threshold,
            the most confident first.
        headline: The classes that count.
    """
    tiles = same = hits = reference_boxes = other_boxes = 0
    shifts: list[np.ndarray] = []
    for pair in pairs:
        reference, other = (boxes.select(np.isin(boxes.label, list(headline))) for boxes in pair)
        tiles += 1
        same += bool(len(reference)) == bool(len(other))
        reference_boxes, other_boxes = reference_boxes + len(reference), other_boxes + len(other)
        for name in np.unique(other.label):
            truth = reference.select(reference.label == name).xyxy
            predicted = other.select(other.label == name).xyxy
            hit = match_boxes(predicted, truth, np.zeros((0, 4)))[0][0]
            hits += int(hit.sum())
            if hit.any():
                nearest = truth[compute_iou(predicted[hit], truth).argmax(axis=1)]
                shifts.append(np.abs(predicted[hit] - nearest).ravel())
    if not reference_boxes + other_boxes:
        return Agreement(tiles, (0, 0), None, None, None)
    return Agreement(
        tiles,
        (reference_boxes, other_boxes),
        round(2 * hits / (reference_boxes + other_boxes), 4),
        round(same / tiles, 4),
        round(float(np.median(np.concatenate(shifts))), 3) if shifts else None,
    )
