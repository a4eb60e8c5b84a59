"""The cells of a whole scan, from tiles that were drawn with known probabilities.

Adaptive importance sampling without replacement. At draw t, S = N - t + 1 of N tiles are left
and tile i_t is drawn with probability q_t(i_t), which may depend on all that was seen before.
Then

    F_t = Σ_{s<t} f(i_s) + f(i_t) / q_t(i_t)

(what was counted, plus an estimate of what is left) has the mean F = Σ f over all tiles, given
everything before. Where m(i) cells were expected on each tile before the draw,

    F_t = Σ_{s<t} f(i_s) + Σ_{left} m + (f(i_t) - m(i_t)) / q_t(i_t)

has the same mean and less spread (a control variate: only what differs from the expected is
estimated). The estimate is Σ w_t F_t / Σ w_t, with the weights w_t = 1 / (S (S - 1)) that
make it the plain N · mean(f) when the drawing is uniform. They are fixed beforehand, so the
estimate is unbiased for every number of reviewed tiles, whatever the detector does; when all are
reviewed it is the count itself. The errors w_t (F_t - F) are a martingale's differences; their
squares, with the estimate in F's place, give the variance.

Sources: Hamilton, Lai, Zhao, Maji and Sheldon 2025, Active Measurement: Efficient Estimation at
Scale (arXiv 2507.01372); Perez, Maji and Sheldon 2024, DISCount: Counting in Large Image
Collections with Detector-Based Importance Sampling (AAAI); the weights: Farquhar, Gal and
Rainforth 2021, On Statistical Bias in Active Learning: How and When to Fix It.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ml_backend.estimation.estimate import FEWEST_REVIEWED, SEQUENCE_START, Estimate
from ml_backend.estimation.limits import (
    find_quantile,
    find_sequence_quantile,
    find_skew,
    find_variance,
    limit_share,
    limit_total,
)


@dataclass(frozen=True)
class Expected:
    """What was expected before each draw, as `sampling.Draws` has it.

    Attributes:
        own: (..., n) cells on the tile that was drawn.
        left: (..., n) cells on all tiles then left, that one included.
    """

    own: np.ndarray
    left: np.ndarray


@dataclass(frozen=True)
class WeightedTotal:
    """The estimate of a total and its parts.

    Attributes:
        value: (...) the estimate.
        counted: (...) the sum over the reviewed tiles.
        terms: (..., n) what each draw adds to the estimate's error; their squares sum to its
            variance.
        jump: (...) by how much one more cell on a reviewed tile raises the estimate, on average.
    """

    value: np.ndarray
    counted: np.ndarray
    terms: np.ndarray
    jump: np.ndarray


def weigh_total(
    counts: np.ndarray, probability: np.ndarray, tiles: int, expected: Expected | None = None
) -> WeightedTotal:
    """The unbiased estimate of a total over all tiles, by the formula above.

    Args:
        counts: (..., n) what people counted, in the order of the draws.
        probability: (..., n) each draw's own, over 0 to 1, as `sampling.Draws` has it.
        tiles: N >= n.
        expected: what was expected before each draw; nothing where None.

    Raises:
        ValueError: more draws than tiles, shapes that do not match, or a probability outside
            (0, 1].
    """
    counts, probability = np.asarray(counts, float), np.asarray(probability, float)
    number = counts.shape[-1]
    if probability.shape[-1] != number:
        raise ValueError(f"{number} counts, but {probability.shape[-1]} probabilities")
    if number > tiles:
        raise ValueError(f"{number} tiles were drawn of {tiles}")
    if not np.all((probability > 0) & (probability <= 1)):
        raise ValueError("the probability of a draw must be over 0 and at most 1")
    counted = counts.sum(axis=-1)
    shape = np.broadcast_shapes(counts.shape, probability.shape)
    if number == tiles or not number:
        value = counted if number == tiles else np.full(shape[:-1], np.nan)
        return WeightedTotal(value, counted, np.zeros(shape), np.zeros(shape[:-1]))
    left = tiles - np.arange(number)
    weight = 1 / (left * (left - 1.0))
    weight /= weight.sum()
    # Each estimate without what is common to all, the count, so that rounding stays small.
    since = np.cumsum(counts[..., ::-1], axis=-1)[..., ::-1]
    if expected is None:
        apart = counts / probability - since
    else:
        apart = (counts - expected.own) / probability + expected.left - since
    beyond = np.sum(weight * apart, axis=-1)
    # The estimate is part of its own errors: as n - 1 for n in a sample's variance.
    effective = 1 / np.sum(weight**2)
    correction = np.sqrt(effective / (effective - 1)) if number > 1 else 0.0
    terms = weight * (apart - beyond[..., None]) * correction
    jump = np.broadcast_to(np.mean(weight / probability, axis=-1), shape[:-1])
    return WeightedTotal(counted + beyond, counted, terms, jump)


def estimate_total(
    counts: np.ndarray, probability: np.ndarray, tiles: int, expected: Expected | None = None
) -> Estimate:
    """How many cells the whole scan has, with intervals.

    Args:
        counts: (..., n) what people counted in the order of the draws; (classes, n) for several
            classes at once. To count a part of a scan, 0 on the tiles outside it.
        probability: (..., n)
        tiles: N.
        expected: as for `weigh_total`.

    Raises:
        ValueError: as `weigh_total`.
    """
    total = weigh_total(counts, probability, tiles, expected)
    number = total.terms.shape[-1]
    variance = find_variance(total.terms)

    parts = total.value, total.counted, variance, total.jump
    quantile = find_quantile(total.terms) if number > 1 else 0.0
    interval = limit_total(*parts, quantile, skew=find_skew(total.terms, total.jump))
    sequence = limit_total(*parts, find_sequence_quantile(max(number, 1), tiles), widest=True)
    return _make_estimate(total.value, interval, sequence, total.counted, number, tiles)


def estimate_ratio(
    part: np.ndarray,
    whole: np.ndarray,
    probability: np.ndarray,
    tiles: int,
    expected_part: Expected | None = None,
    expected_whole: Expected | None = None,
    known_part: float = 0.0,
    known_whole: float = 0.0,
) -> Estimate:
    """What share of the whole scan's cells is of a kind: a mitotic index, a stage index.

    The ratio of the two estimated totals, r = A / B. Its terms are those of A - rB, over B (the
    delta method); the interval is Wilson's, so it stays within 0..1 and holds for rare kinds.
    The ratio of unbiased estimates is not exactly unbiased itself; the bias is small beside the
    interval.

    Args:
        part: (..., n) cells of the kind, in the order of the draws.
        whole: (..., n) all cells that the share is of; at least `part`.
        probability: (..., n)
        tiles: N.
        expected_part: as for `weigh_total`.
        expected_whole: the same for the whole.
        known_part: cells of the kind on tiles beside these N, which were all counted.
        known_whole: all cells on those.

    Raises:
        ValueError: as `weigh_total`, or a part is more than its whole.
    """
    if np.any(np.asarray(part) > np.asarray(whole)):
        raise ValueError("a part has more cells than its whole")
    above = weigh_total(part, probability, tiles, expected_part)
    below = weigh_total(whole, probability, tiles, expected_whole)
    number = above.terms.shape[-1]
    whole_value = below.value + known_whole
    value = np.clip(_divide(above.value + known_part, whole_value), 0, 1)
    terms = _divide(above.terms - value[..., None] * below.terms, whole_value[..., None])
    variance, jump = find_variance(terms), _divide(above.jump, whole_value)
    wide = find_quantile(terms) if number > 1 else 0.0
    return _make_estimate(
        value,
        limit_share(value, variance, jump, wide),
        limit_share(value, variance, jump, find_sequence_quantile(max(number, 1), tiles)),
        _divide(above.counted + known_part, below.counted + known_whole),
        number,
        tiles,
    )


def _divide(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Divide; NaN where below is not positive."""
    above, below = np.broadcast_arrays(above, below)
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)


def _make_estimate(
    value: np.ndarray,
    interval: np.ndarray,
    sequence: np.ndarray,
    counted: np.ndarray,
    number: int,
    tiles: int,
) -> Estimate:
    """With NaN for the limits that so few tiles do not bear."""
    complete = number == tiles
    unknown = np.full(interval.shape, np.nan)
    return Estimate(
        value,
        interval if complete or number >= FEWEST_REVIEWED else unknown,
        sequence if complete or number >= SEQUENCE_START else unknown,
        counted,
        number,
        tiles,
    )
