"""The entropy of a detection, by which several strategies measure doubt."""

from __future__ import annotations

import numpy as np


def compute_entropy(confidence: np.ndarray) -> np.ndarray:
    """Compute the binary entropy H(p) = -p ln p - (1 - p) ln(1 - p).

    Args:
        confidence: (N,) p, 0..1.

    Returns:
        (N,) float64 in nats, 0 to ln 2.
    """
    p = np.clip(confidence.astype(np.float64), 0, 1)
    logs = [np.log(q, out=np.zeros_like(q), where=q > 0) for q in (p, 1 - p)]
    return -(p * logs[0]) - (1 - p) * logs[1]
