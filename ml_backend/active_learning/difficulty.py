"""How badly a version finds the objects of each class, which strategies weigh classes by."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ml_backend.imaging.boxes import Boxes, compute_iou

XI = 0.6
SAME_IOU = 0.5


def measure_difficulty(images: Iterable[tuple[Boxes, Boxes]]) -> dict[str, float]:
    """Measure the difficulty of each class on images that were corrected.

    That of an object is 1 - p^ξ·IoU^(1-ξ) for the box of its class that finds it best, p its
    confidence, with an IoU of at least 0.5 (else 1); that of a class is the mean over its objects
    (Yang, Huang, Crowley, PPAL, CVPR 2024, who follow it through the training).

    Args:
        images: True and predicted boxes of each, the latter down to a low confidence.

    Returns:
        By class, 0..1; of the classes that have objects.
    """
    found: dict[str, list[float]] = {}
    for true, predicted in images:
        overlap = compute_iou(true.xyxy, predicted.xyxy)
        overlap[(true.label[:, None] != predicted.label[None, :]) | (overlap < SAME_IOU)] = 0
        quality = (predicted.confidence[None, :] ** XI * overlap ** (1 - XI)).max(axis=1, initial=0)
        for name, value in zip(true.label, quality, strict=True):
            found.setdefault(str(name), []).append(1 - float(value))
    return {name: float(np.mean(values)) for name, values in found.items()}
