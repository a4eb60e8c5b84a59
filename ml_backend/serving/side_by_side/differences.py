"""Where the boxes of two versions differ. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ml_backend.imaging.boxes import Boxes, choose_pairs, compute_iou

# From this overlap on two boxes are of the same cell.
SAME_IOU = 0.5


@dataclass(frozen=True)
class Differences:
    """How the boxes of two versions on one image differ.

    Attributes:
        only_left: The places of the boxes that only the left version drew.
        only_right: Those that only the right one drew.
        renamed: (place left, place right) of boxes of one cell with two labels.
    """

    only_left: tuple[int, ...]
    only_right: tuple[int, ...]
    renamed: tuple[tuple[int, int], ...]

    @property
    def count(self) -> int:
        """How many cells are drawn differently."""
        return len(self.only_left) + len(self.only_right) + len(self.renamed)


def find_differences(left: Boxes, right: Boxes) -> Differences:
    """Find where two versions differ.

    Boxes are of the same cell from IoU 0.5 on; the ones that overlap most find each other first,
    among these those of the same label.

    Args:
        left: The boxes of one version, in px.
        right: Those of the other.
    """
    overlap = compute_iou(left.xyxy, right.xyxy)
    near = [
        (-overlap[i, j], str(left.label[i]) != str(right.label[j]), i, j)
        for i, j in np.argwhere(overlap >= SAME_IOU).tolist()
    ]
    pairs = choose_pairs((i, j) for *_, i, j in sorted(near))
    return Differences(
        _list_others(len(left), [i for i, _ in pairs]),
        _list_others(len(right), [j for _, j in pairs]),
        tuple((i, j) for i, j in pairs if str(left.label[i]) != str(right.label[j])),
    )


def _list_others(number: int, chosen: Sequence[int]) -> tuple[int, ...]:
    return tuple(sorted(set(range(number)) - set(chosen)))
