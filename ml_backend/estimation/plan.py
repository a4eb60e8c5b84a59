"""What further reviews are expected to bring: cells, and a narrower interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ml_backend.estimation.count import Expected, weigh_total
from ml_backend.estimation.limits import (
    find_quantile,
    find_sequence_quantile,
    find_skew,
    find_variance,
    limit_total,
)

# So many reviews are planned at a time.
BATCH = 50


@dataclass(frozen=True)
class Plan:
    """What the next reviews are expected to bring, for one class or several.

    Attributes:
        reviews: how many are planned: a batch, or all tiles that are left.
        cells: (...) cells that they will show.
        width: (...) the interval's present width, in cells.
        width_then: (...) its expected width after them.
        sequence_width: (...) the same for the confidence sequence.
        sequence_width_then: (...)
    """

    reviews: int
    cells: np.ndarray
    width: np.ndarray
    width_then: np.ndarray
    sequence_width: np.ndarray
    sequence_width_then: np.ndarray


def plan_reviews(
    counts: np.ndarray,
    probability: np.ndarray,
    tiles: int,
    more: int = BATCH,
    expected: Expected | None = None,
) -> Plan:
    """Carry the present spread on to so many more reviews.

    With n of N tiles reviewed the variance is in proportion to (N - n) / n, as long as a draw
    tells as much as those before it; a detector that learns on the way does better. The next
    tiles are expected to hold as many cells as the last ones, but no more than are missing.

    Args:
        counts: (..., n) in the order of the draws, n >= 2.
        probability: (..., n)
        tiles: N.
        more: reviews to plan for, 1 or more.
        expected: as for `count.weigh_total`.

    Raises:
        ValueError: as `count.weigh_total`, or fewer than two reviewed tiles.
    """
    counts = np.asarray(counts, float)
    number = counts.shape[-1]
    if number < 2:
        raise ValueError("a plan needs two reviewed tiles or more")
    total = weigh_total(counts, probability, tiles, expected)
    reviews = min(more, tiles - number)
    recent = counts[..., -more:]
    missing = np.maximum(total.value - total.counted, 0)
    cells = np.minimum(recent.mean(axis=-1) * reviews, missing)
    then = number + reviews
    shrunk = 0.0 if then == tiles else ((tiles - then) / then) / ((tiles - number) / number)
    variance = find_variance(total.terms)
    quantile, skew = find_quantile(total.terms), find_skew(total.terms, total.jump)

    def width(later: bool, sequence: bool) -> np.ndarray:
        low_high = limit_total(
            total.value,
            total.counted + cells * later,
            variance * (shrunk if later else 1),
            total.jump * (shrunk if later else 1),
            find_sequence_quantile(then if later else number, tiles) if sequence else quantile,
            skew=0.0 if sequence else skew * (shrunk if later else 1),
            widest=sequence,
        )
        return low_high[..., 1] - low_high[..., 0]

    return Plan(
        reviews,
        cells,
        width(False, False),
        width(True, False),
        width(False, True),
        width(True, True),
    )
