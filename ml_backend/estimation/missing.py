"""How many of the cells that are there have been found, and how many are still missing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ml_backend.estimation.estimate import Estimate


@dataclass(frozen=True)
class Missing:
    """What is left to find, of one class or, along the leading axes, of several.

    Attributes:
        found: (...) cells on the reviewed tiles.
        missing: (...) estimated cells on the others, 0 or more.
        interval: (..., 2) of the missing; NaN where the total has none.
        sequence: (..., 2) the same, for who looks at every review and stops when it suits.
        share: (...) found cells, of all: 0..1; NaN where there seem to be none.
        share_interval: (..., 2)
        share_sequence: (..., 2)
    """

    found: np.ndarray
    missing: np.ndarray
    interval: np.ndarray
    sequence: np.ndarray
    share: np.ndarray
    share_interval: np.ndarray
    share_sequence: np.ndarray


def find_missing(total: Estimate) -> Missing:
    """The missing cells, from the estimated total.

    What was counted on reviewed tiles is certain, so the missing ones are as uncertain as the
    total: each limit of the total, less what was found. The share falls with the total, so its
    limits change places.

    Args:
        total: from `count.estimate_total`, or from `prediction_powered`.
    """
    found = np.asarray(total.counted, float)
    return Missing(
        found,
        np.maximum(total.value - found, 0),
        np.maximum(total.interval - found[..., None], 0),
        np.maximum(total.sequence - found[..., None], 0),
        _share(found, np.maximum(total.value, found)),
        _share(found[..., None], total.interval[..., ::-1]),
        _share(found[..., None], total.sequence[..., ::-1]),
    )


def _share(found: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Divide; NaN without a total."""
    found, total = np.broadcast_arrays(found, total)
    return np.divide(found, total, out=np.full(total.shape, np.nan), where=total > 0)
