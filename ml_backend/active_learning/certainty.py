"""Which task a person should look at first.

A correction is a box taken away, a box added or a box renamed. What a detector shows and
what it hides is decided by one threshold, so its doubts are the boxes on either side of it:
one just above may be wrong, one just below may be missing. A task without such boxes needs
nobody, whether it is full of sure cells or empty; a mean confidence would call the empty
one the most doubtful of all.

Held-out tasks are different: a judgement on the most doubtful images alone would say little
about the others, so they come at random places of the queue.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ml_backend.imaging.boxes import Boxes


def certainty(boxes: Boxes, threshold: float) -> float:
    """How sure it is that nobody has to correct a task: 0..1, low is reviewed first.

    boxes: everything found from a floor well below the threshold on, of the classes that
    matter. threshold: the confidence from which a box is shown, 0..1, exclusive.

    The product over the boxes of 1 - doubt³ / 2, where doubt falls linearly from 1 at the
    threshold to 0 at confidence 0 and 1. A box at the threshold is right or wrong with the
    chance of a coin, hence the half; doubts of separate boxes are independent, hence the
    product; the cube keeps a crowd of boxes far from the threshold from adding up (a
    hundred with a doubt of 0.1 cost 5 %).
    """
    confidence = boxes.confidence.astype(np.float64)
    above = (confidence - threshold) / max(1 - threshold, 1e-9)
    below = (threshold - confidence) / max(threshold, 1e-9)
    doubt = 1 - np.clip(np.where(confidence >= threshold, above, below), 0, 1)
    return float(np.prod(1 - doubt**3 / 2))


def at_place(place: float, certainties: Sequence[float]) -> float:
    """The score of a task that belongs at a random place of the queue, 0..1.

    place: 0 is first, 1 last. certainties: of the other tasks, in any order; where none is
    known, the place itself.
    """
    return float(np.quantile(certainties, place)) if len(certainties) else place
