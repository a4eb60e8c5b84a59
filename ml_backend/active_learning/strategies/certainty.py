"""The strategy `certainty`: the tasks first in which a box is most likely to be corrected.

A correction is a box taken away, a box added or a box renamed. What a detector shows and
what it hides is decided by one threshold, so its doubts are the boxes on either side of it:
one just above may be wrong, one just below may be missing. A task without such boxes needs
nobody, whether it is full of sure cells or empty; a mean confidence would call the empty
one the most doubtful of all.

It is least-confidence sampling (Settles, Active Learning Literature Survey, 2009, section 3.1)
for a decision at a threshold, and for many boxes of which any may be wrong.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ml_backend.active_learning.strategies.base import Candidate, Context
from ml_backend.imaging.boxes import Boxes


def score_certainty(candidates: Sequence[Candidate], context: Context) -> np.ndarray:
    """Score each candidate by how sure it is that nobody has to correct it."""
    return np.array(
        [measure_certainty(candidate.boxes, context.threshold) for candidate in candidates],
        np.float64,
    )


def measure_certainty(boxes: Boxes, threshold: float) -> float:
    """Measure how sure it is that nobody has to correct a task.

    The product over the boxes of 1 - doubt³ / 2, where doubt falls linearly from 1 at the
    threshold to 0 at confidence 0 and 1. A box at the threshold is right or wrong with the
    chance of a coin, hence the half; doubts of separate boxes are independent, hence the
    product; the cube keeps a crowd of boxes far from the threshold from adding up (a
    hundred with a doubt of 0.1 cost 5 %).

    Args:
        boxes: Everything found from a confidence well below the threshold on, of the classes
            that matter.
        threshold: The confidence from which a box is shown, 0..1, exclusive.

    Returns:
        0..1; 1 where there is no box.
    """
    confidence = boxes.confidence.astype(np.float64)
    above = (confidence - threshold) / max(1 - threshold, 1e-9)
    below = (threshold - confidence) / max(threshold, 1e-9)
    doubt = 1 - np.clip(np.where(confidence >= threshold, above, below), 0, 1)
    return float(np.prod(1 - doubt**3 / 2))
