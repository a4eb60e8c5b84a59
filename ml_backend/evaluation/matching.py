"""Which predicted boxes found a true one, at every strictness, image by image.

The rules are COCO's: the most confident box chooses first, takes the free true box of its
class that it overlaps most, and a box that lies in an ignored region and found nothing
neither counts nor punishes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ml_backend.imaging.boxes import iou

# The overlaps at which COCO judges; the first is the one for precision, recall and F1.
IOU_LEVELS = np.linspace(0.5, 0.95, 10)

# The boxes of one class in one image → hits and ignored ones, each (L, D), see `match`.
Matcher = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Tally:
    """All predicted boxes of one class, the most confident first.

    confidence: (D,) float, falling. group: (D,) int, the group of the image it is in.
    hit, ignored: (L, D) bool, at each strictness (those of IOU_LEVELS, where boxes were
        matched by overlap); never both.
    truths: (G,) int, the true boxes of each group.
    """

    confidence: np.ndarray
    group: np.ndarray
    hit: np.ndarray
    ignored: np.ndarray
    truths: np.ndarray


def match(
    predicted: np.ndarray, truth: np.ndarray, ignored: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Hits and ignored ones among the boxes of one class in one image, each (10, D) bool.

    predicted: (D, 4), the most confident first. truth: (M, 4). ignored: (K, 4), regions.
    """
    levels = IOU_LEVELS[:, None]
    hit = np.zeros((len(IOU_LEVELS), len(predicted)), bool)
    if len(truth):
        overlap = iou(predicted, truth)
        free = np.ones((len(IOU_LEVELS), len(truth)), bool)
        for box in np.flatnonzero(overlap.max(axis=1, initial=0) >= IOU_LEVELS[0]):
            reach = np.where(free & (overlap[box] >= levels), overlap[box], -1.0)
            # Of equally good ones COCO takes the last.
            best = reach.shape[1] - 1 - reach[:, ::-1].argmax(axis=1)
            found = np.flatnonzero(reach[np.arange(len(best)), best] >= 0)
            free[found, best[found]] = False
            hit[found, box] = True
    inside = covered(predicted, ignored).max(axis=1, initial=0)
    return hit, ~hit & (inside >= levels)


def tally(
    images: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]],
    group: np.ndarray,
    groups: int,
    match: Matcher = match,
) -> Tally:
    """One class over all images.

    images: (predicted (D, 4), confidence (D,), truth (M, 4), ignored (K, 4)) of each.
    group: (I,) int in 0..groups-1, the group of each image.
    """
    confidences, hits, left_out, members = [], [], [], []
    truths = np.zeros(groups, int)
    for (predicted, confidence, truth, ignored), member in zip(images, group, strict=True):
        order = np.argsort(-confidence, kind="stable")
        hit, ignore = match(predicted[order], truth, ignored)
        confidences.append(confidence[order])
        hits.append(hit)
        left_out.append(ignore)
        members.append(np.full(len(order), member))
        truths[member] += len(truth)
    none = np.zeros((len(IOU_LEVELS), 0), bool)
    confidence = np.concatenate([np.zeros(0), *confidences])
    order = np.argsort(-confidence, kind="stable")
    return Tally(
        confidence[order],
        np.concatenate([np.zeros(0, int), *members])[order],
        np.concatenate(hits or [none], axis=1)[:, order],
        np.concatenate(left_out or [none], axis=1)[:, order],
        truths,
    )


def covered(boxes: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """The part (0..1) of each box (N, 4) that lies in each region (K, 4): (N, K)."""
    boxes, regions = np.asarray(boxes, np.float64), np.asarray(regions, np.float64)
    low = np.maximum(boxes[:, None, :2], regions[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], regions[None, :, 2:])
    inside = np.clip(high - low, 0, None).prod(axis=2)
    area = np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=1)[:, None]
    return np.divide(inside, area, out=np.zeros_like(inside), where=area > 0)
