"""What an estimation gives: a value, how sure it is, and from how much it was made."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LEVEL = 0.95
# Below so many reviewed tiles there is no interval: a rare cell may not have shown itself yet.
FEWEST_REVIEWED = 30
# From so many on the confidence sequence begins; its guarantee is for looks from then on.
SEQUENCE_START = 50


@dataclass(frozen=True)
class Estimate:
    """A figure of a whole scan, for one class or, along the leading axes, for several.

    Attributes:
        value: (...) the estimate; NaN where there is nothing to divide by, or nothing reviewed.
        interval: (..., 2) at LEVEL, for who decided beforehand how many tiles to review; NaN
            below FEWEST_REVIEWED tiles.
        sequence: (..., 2) at LEVEL, for who looks at every review and stops when it suits;
            NaN below SEQUENCE_START tiles, and where no such interval is known.
        counted: (...) the same figure of the reviewed tiles alone.
        reviewed: how many tiles were reviewed.
        tiles: how many there are.
    """

    value: np.ndarray
    interval: np.ndarray
    sequence: np.ndarray
    counted: np.ndarray
    reviewed: int
    tiles: int
