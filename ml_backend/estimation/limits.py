"""Limits of an estimate: its error's spread and tails, made into an interval.

The error of every estimate here is a sum of terms, one a reviewed tile, each of mean zero given
the tiles before it (a martingale). So a normal interval holds for many tiles. Cells are rare,
though: an estimate that came out low by chance has also seen too little spread, and a normal
interval then misses. As for Poisson counts, the spread is therefore taken to grow with the count
(Wilson's idea: ask of each possible true count whether it could have given this estimate).
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import ndtri, stdtrit

from ml_backend.estimation.estimate import LEVEL

NORMAL = float(ndtri((1 + LEVEL) / 2))

# The number of reviewed tiles at which the confidence sequence is narrowest, compared with the
# classical interval: about where people first think of stopping.
TUNED_FOR = 100


def find_variance(terms: np.ndarray) -> np.ndarray:
    """The variance of a sum of uncorrelated terms of mean zero: (..., n) → (...)."""
    return np.sum(np.square(terms), axis=-1)


def find_skew(terms: np.ndarray, jump: np.ndarray) -> np.ndarray:
    """How large the terms are that make a sum of terms uncertain: sum(d³) / sum(d²), or 0.

    Few large terms among many small ones skew the sum: it comes out low more often than high.
    One more cell, found on an average tile, is added to both sums, as in `limit_total`.

    Args:
        terms: (..., n)
        jump: (...) by how much one more cell on a reviewed tile raises the estimate.

    Returns:
        (...) in the unit of the sum, 0 or more.
    """
    third = np.sum(terms**3, axis=-1) + jump**3
    second = find_variance(terms) + jump**2
    return np.maximum(np.divide(third, second, out=np.zeros_like(second), where=second > 0), 0)


def find_quantile(terms: np.ndarray, level: float = LEVEL) -> np.ndarray:
    """How many standard deviations wide one side of the classical interval is.

    Student's quantile at Satterthwaite's degrees of freedom: few large terms among many small
    ones tell little of the variance. The variance of sum(d²) is estimated by
    sum(d⁴) - sum(d²)²/n, as for a sample's second moment.
    Source: Satterthwaite 1946, An approximate distribution of estimates of variance components.

    Args:
        terms: (..., n), n >= 2.
        level: the probability of the two-sided interval, 0..1.

    Returns:
        (...) at least the normal quantile.
    """
    number = terms.shape[-1]
    second, fourth = find_variance(terms), find_variance(np.square(terms))
    noise = fourth - np.square(second) / number
    flat = noise <= np.square(second) * 2 / number
    freedom = np.where(flat, number, 2 * np.square(second) / np.where(flat, 1, noise))
    return stdtrit(np.clip(freedom, 2, max(number - 1, 2)), (1 + level) / 2)


def find_sequence_quantile(
    reviewed: int, tiles: int, level: float = LEVEL, tuned_for: int = TUNED_FOR
) -> float:
    """How many standard deviations wide one side of the confidence sequence is.

    Robbins' normal mixture: a martingale with (estimated) variance V stays, at all times
    together, with probability `level` within sqrt((V + 1/ρ²) log((ρ²V + 1) / α²)). It holds in
    the limit of many reviewed tiles before the first look (an asymptotic confidence sequence).
    V is measured in units that are known beforehand, those of uniform drawing, in which it is
    1/(N - n) - 1/N after n of N tiles; ρ makes the boundary lowest at `tuned_for` tiles.
    Source: Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2024, Time-uniform central limit
    theory and asymptotic confidence sequences, Theorem 2.2 and appendix on the choice of ρ
    (arXiv 2103.06476).

    Args:
        reviewed: n, 1 or more.
        tiles: N, at least n.
        level: 0..1.
        tuned_for: 1 or more; at most half of the tiles is used.
    """
    if reviewed >= tiles:
        return 0.0
    alpha = 1 - level
    tuned = min(tuned_for, max(1, tiles // 2))
    best = -2 * math.log(alpha) + math.log(1 - 2 * math.log(alpha))
    # ρ²V, where V has its best value at the tuned number of tiles.
    spent = best * (reviewed / (tiles - reviewed)) / (tuned / (tiles - tuned))
    return math.sqrt((1 + 1 / spent) * (math.log1p(spent) - 2 * math.log(alpha)))


def limit_total(
    value: np.ndarray,
    counted: np.ndarray,
    variance: np.ndarray,
    jump: np.ndarray,
    quantile: np.ndarray | float,
    *,
    skew: np.ndarray | float = 0.0,
    widest: bool = False,
) -> np.ndarray:
    """The interval of a total whose variance grows in proportion to a count.

    All T with (value - T)² <= quantile² (variance + φ (T - value)), where φ, the variance a
    cell, is variance / base. What the base is lies between all cells and those not yet counted:
    the first makes the interval too short above, when few cells are left, the second below. So
    the mean of the two, or with `widest` whichever gives the wider side. One more cell, found
    on an average tile, is added to both, lest the variance be 0 where no cell was seen.
    The upper limit moves up by at least a third of the skew times the normal quantile's square.
    Source: Johnson 1978, Modified t tests and confidence intervals for asymmetrical populations.

    Args:
        value: (...) the estimate.
        counted: (...) what was counted: the total is not less.
        variance: (...) of the estimate.
        jump: (...) by how much one more cell on a reviewed tile raises the estimate.
        quantile: (...) from `find_quantile` or `find_sequence_quantile`.
        skew: (...) from `find_skew`; for the confidence sequence the wider side does.
        widest: take the wider of both sides (for the confidence sequence).

    Returns:
        (..., 2) low and high, both at least `counted`.
    """
    left = np.maximum(value - counted, 0)
    everything = np.maximum(value, counted)
    bases = (everything, left) if widest else ((everything + left) / 2,) * 2
    # Student's quantile is for a spread that is known badly, and φ is a guess about just that.
    lean = np.minimum(quantile, NORMAL)
    sides = []
    for sign, base in zip((-1, 1), bases, strict=True):
        whole = base + jump
        unit = np.where(whole > 0, variance + jump**2, 0) / np.where(whole > 0, whole, 1)
        tilt = np.square(quantile if widest and sign > 0 else lean) * unit / 2
        if sign > 0:
            tilt = np.maximum(tilt, np.square(lean) * skew / 3)
        sides.append(value + tilt + sign * np.sqrt(np.square(quantile) * variance + tilt**2))
    return np.maximum(np.stack(sides, axis=-1), np.asarray(counted)[..., None])


def limit_share(
    value: np.ndarray, variance: np.ndarray, jump: np.ndarray, quantile: np.ndarray | float
) -> np.ndarray:
    """Wilson's interval of a share, for as many independent cells as the variance speaks of.

    That number is value (1 - value) / variance; one more cell is added to both parts, lest the
    interval be of width 0 where the share is 0 or 1.
    Source: Dean and Pagano 2015, Evaluating confidence interval methods for binomial
    proportions in clustered surveys.

    Args:
        value: (...) 0..1.
        variance: (...) of the share.
        jump: (...) by how much one cell more or less changes the share.
        quantile: (...)

    Returns:
        (..., 2) low and high, 0..1, around the value.
    """
    spread = variance + jump**2
    certain = spread <= 0
    inverse = np.where(certain, 0, spread) / np.where(certain, 1, value * (1 - value) + jump)
    square = np.square(quantile) * inverse
    centre = (value + square / 2) / (1 + square)
    half = np.sqrt(square * value * (1 - value) + square**2 / 4) / (1 + square)
    low, high = np.maximum(centre - half, 0), np.minimum(centre + half, 1)
    return np.stack([np.minimum(low, value), np.maximum(high, value)], axis=-1)
