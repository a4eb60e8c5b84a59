"""One object, one box: non-maximum suppression within each class."""

from __future__ import annotations

from typing import Any, cast

import cv2
import numpy as np


def suppress_overlaps(
    xyxy: np.ndarray, label: np.ndarray, confidence: np.ndarray, overlap: float
) -> np.ndarray:
    """Indices of the boxes to keep, the most confident first.

    A box goes when it overlaps a more confident kept box of its class by an intersection
    over union above `overlap`. xyxy: (N, 4). label: (N,) int. confidence: (N,).
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
        overlap,
    )
    kept = np.asarray(kept, np.intp).reshape(-1)
    return kept[np.argsort(-confidence[kept], kind="stable")]
