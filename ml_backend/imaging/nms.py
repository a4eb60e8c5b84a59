"""Non-maximum suppression within each class: one box for one object."""

from __future__ import annotations

from typing import Any, cast

import cv2
import numpy as np


def suppress_overlaps(
    xyxy: np.ndarray, label: np.ndarray, confidence: np.ndarray, iou: float
) -> np.ndarray:
    """Drop boxes that overlap a more confident kept box of their class.

    Args:
        xyxy: (N, 4).
        label: (N,) int.
        confidence: (N,).
        iou: The greatest intersection over union of two kept boxes, 0..1.

    Returns:
        Indices of the boxes kept, the most confident first.
    """
    if not len(xyxy):
        return np.zeros(0, np.intp)
    xywh = xyxy.astype(np.float64)
    xywh[:, 2:] -= xywh[:, :2]
    kept: Any = cv2.dnn.NMSBoxesBatched(
        cast(Any, xywh),
        cast(Any, confidence.astype(np.float32)),
        cast(Any, label.astype(np.int32)),
        0.0,
        iou,
    )
    kept = np.asarray(kept, np.intp).reshape(-1)
    return kept[np.argsort(-confidence[kept], kind="stable")]
