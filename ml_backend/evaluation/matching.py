"""Which predicted boxes found a true one, at every strictness, image by image.

The rules are COCO's: the most confident box chooses first, takes the free true box of its
class that it overlaps most, and a box that lies in an ignored region and found nothing is
ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ml_backend.imaging.boxes import compute_iou

# The overlaps at which COCO judges; the first is the one for precision, recall and F1.
IOU_LEVELS = np.linspace(0.5, 0.95, 10)

# The boxes of one class in one image → hits and ignored ones, each (L, D), see `match_boxes`.
Matcher = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class MatchedDetections:
    """All predicted boxes of one class, the most confident first.

    Attributes:
        confidence: (D,) float, falling.
        group: (D,) int, the group of the image that each is in.
        hit: (L, D) bool, whether it found a true box at each strictness (those of IOU_LEVELS,
            where boxes were matched by overlap).
        ignored: (L, D) bool, whether it found none and lies in an ignored region.
        truths: (G,) int, the true boxes of each group.
    """

    confidence: np.ndarray
    group: np.ndarray
    hit: np.ndarray
    ignored: np.ndarray
    truths: np.ndarray


def match_boxes(
    predicted: np.ndarray, truth: np.ndarray, ignored: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Match the boxes of one class in one image.

    Args:
        predicted: (D, 4) boxes, the most confident first.
        truth: (M, 4) boxes.
        ignored: (K, 4) regions.

    Returns:
        Hits and ignored ones among the predicted boxes, each (10, D) bool.
    """
    levels = IOU_LEVELS[:, None]
    hit = choose_partners(compute_iou(predicted, truth), IOU_LEVELS) >= 0
    inside = compute_coverage(predicted, ignored).max(axis=1, initial=0)
    return hit, ~hit & (inside >= levels)


def choose_partners(overlap: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Let predicted boxes choose in turn, each the free true box that it overlaps most.

    Args:
        overlap: (D, M) of every predicted box with every true one, 0..1; the most confident
            predicted box first.
        levels: (L,) from which on two boxes belong together, the lowest first.

    Returns:
        (L, D) int, the true box of each predicted one at each level; -1 for none.
    """
    partner = np.full((len(levels), len(overlap)), -1)
    free = np.ones((len(levels), overlap.shape[1]), bool)
    for box in np.flatnonzero(overlap.max(axis=1, initial=0) >= levels[0]):
        reach = np.where(free & (overlap[box] >= levels[:, None]), overlap[box], -1.0)
        # Of equally good ones COCO takes the last.
        best = reach.shape[1] - 1 - reach[:, ::-1].argmax(axis=1)
        found = np.flatnonzero(reach[np.arange(len(best)), best] >= 0)
        free[found, best[found]] = False
        partner[found, box] = best[found]
    return partner


def match_images(
    images: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]],
    group: np.ndarray,
    groups: int,
    matcher: Matcher = match_boxes,
) -> MatchedDetections:
    """Match the boxes of one class in all images.

    Args:
        images: (predicted (D, 4), confidence (D,), truth (M, 4), ignored (K, 4)) of each.
        group: (I,) int in 0..groups-1, the group of each image.
        groups: How many there are.
        matcher: What matches the boxes of an image.
    """
    confidences, hits, left_out, members = [], [], [], []
    truths = np.zeros(groups, int)
    for (predicted, confidence, truth, ignored), member in zip(images, group, strict=True):
        order = np.argsort(-confidence, kind="stable")
        hit, ignore = matcher(predicted[order], truth, ignored)
        confidences.append(confidence[order])
        hits.append(hit)
        left_out.append(ignore)
        members.append(np.full(len(order), member))
        truths[member] += len(truth)
    none = np.zeros((len(IOU_LEVELS), 0), bool)
    confidence = np.concatenate([np.zeros(0), *confidences])
    order = np.argsort(-confidence, kind="stable")
    return MatchedDetections(
        confidence[order],
        np.concatenate([np.zeros(0, int), *members])[order],
        np.concatenate(hits or [none], axis=1)[:, order],
        np.concatenate(left_out or [none], axis=1)[:, order],
        truths,
    )


def compute_coverage(boxes: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """Compute the part (0..1) of each box (N, 4) that lies in each region (K, 4): (N, K)."""
    boxes, regions = np.asarray(boxes, np.float64), np.asarray(regions, np.float64)
    low = np.maximum(boxes[:, None, :2], regions[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], regions[None, :, 2:])
    inside = np.clip(high - low, 0, None).prod(axis=2)
    area = np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=1)[:, None]
    return np.divide(inside, area, out=np.zeros_like(inside), where=area > 0)
