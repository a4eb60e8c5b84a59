"""Boxes of one image: detections, or what annotators drew."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Boxes:
    """Axis-parallel boxes in pixels of the image as it is shown.

    Attributes:
        xyxy: (N, 4) float32: left, top, right, bottom; 0 ≤ x ≤ width, 0 ≤ y ≤ height.
        label: (N,) str, the class of each box.
        confidence: (N,) float32 in 0..1; 1 for boxes that a person drew.

    Raises:
        ValueError: The three are not equally many.
    """

    xyxy: np.ndarray = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    label: np.ndarray = field(default_factory=lambda: np.zeros(0, np.str_))
    confidence: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))

    def __post_init__(self) -> None:
        object.__setattr__(self, "xyxy", np.asarray(self.xyxy, np.float32).reshape(-1, 4))
        object.__setattr__(self, "label", np.asarray(self.label, np.str_).reshape(-1))
        object.__setattr__(self, "confidence", np.asarray(self.confidence, np.float32).reshape(-1))
        if not len(self.xyxy) == len(self.label) == len(self.confidence):
            raise ValueError(
                f"{len(self.xyxy)} boxes, {len(self.label)} labels, "
                f"{len(self.confidence)} confidences: the three must be equally many"
            )

    @classmethod
    def from_rows(cls, rows: Iterable[tuple[float, float, float, float, str]]) -> Boxes:
        """Make the boxes that a person drew, of (x1, y1, x2, y2, label) rows."""
        rows = list(rows)
        return cls(
            np.array([row[:4] for row in rows], np.float32),
            np.array([row[4] for row in rows], np.str_),
            np.ones(len(rows), np.float32),
        )

    def __len__(self) -> int:
        return len(self.xyxy)

    def select(self, keep: np.ndarray) -> Boxes:
        """Select boxes by a mask or an index array."""
        return Boxes(self.xyxy[keep], self.label[keep], self.confidence[keep])

    def to_rows(self) -> list[tuple[float, float, float, float, str, float]]:
        """List (x1, y1, x2, y2, label, confidence) of each box, as plain Python values."""
        return [
            (x1, y1, x2, y2, str(label), float(confidence))
            for (x1, y1, x2, y2), label, confidence in zip(
                self.xyxy.tolist(), self.label, self.confidence, strict=True
            )
        ]


def compute_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Compute the intersection over union of every pair of boxes.

    Args:
        a: (N, 4) xyxy.
        b: (M, 4) xyxy.

    Returns:
        (N, M) float64 in 0..1; 0 for two boxes without area.
    """
    inside, area_a, area_b = _common(a, b)
    union = area_a + area_b - inside
    return np.divide(inside, union, out=np.zeros_like(inside), where=union > 0)


def compute_overlap_of_smaller(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Compute the intersection over the area of the smaller box, of every pair.

    Args:
        a: (N, 4) xyxy.
        b: (M, 4) xyxy.

    Returns:
        (N, M) float64 in 0..1; 1 where one box lies in the other.
    """
    inside, area_a, area_b = _common(a, b)
    smaller = np.minimum(area_a, area_b)
    return np.divide(inside, smaller, out=np.zeros_like(inside), where=smaller > 0)


def choose_pairs(pairs: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Choose pairs in turn, each whose two sides are in none that was chosen before.

    Args:
        pairs: (place among some boxes, place among others), the best first.
    """
    chosen: dict[int, int] = {}
    taken: set[int] = set()
    for first, second in pairs:
        if first not in chosen and second not in taken:
            chosen[first] = second
            taken.add(second)
    return list(chosen.items())


def _common(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The areas that boxes share (N, M), and their own: (N, 1) and (1, M)."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    inside = np.clip(high - low, 0, None).prod(axis=2)
    area_a, area_b = (np.clip(c[:, 2:] - c[:, :2], 0, None).prod(axis=1) for c in (a, b))
    return inside, area_a[:, None], area_b[None, :]
