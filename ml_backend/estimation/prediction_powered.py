"""The cells of a whole scan, from tiles that were reviewed at random and the detector's counts.

Where each tile was as likely to be reviewed as any other, the detector's counts can still make
the estimate more precise: its sum over all tiles is known, and the reviewed tiles show how far
it is off. Valid only if the reviewed tiles were drawn at random (the random share of a queue),
and the predictions are of versions that were never trained on them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ml_backend.estimation.estimate import FEWEST_REVIEWED, Estimate
from ml_backend.estimation.limits import find_quantile, find_skew, find_variance, limit_total

# A stratum with fewer reviewed tiles is joined with the other.
FEWEST_IN_STRATUM = 10
# The variance must fall by so much, below that of the reviewed tiles alone, for the detector to
# be worth its assumptions: with one stratum, a correlation of 0.32.
SMALLEST_GAIN = 0.1
FOLDS = 5
# A tile on which the detector expects fewer cells is predicted empty.
EMPTY_BELOW = 0.5


@dataclass(frozen=True)
class Refusal:
    """Why there is no estimate, as a sentence for the user."""

    reason: str


@dataclass(frozen=True)
class _Stratum:
    """The reviewed and the other tiles of a kind: counts (n,), predictions (n,) and (m,)."""

    counts: np.ndarray
    predicted: np.ndarray
    predicted_left: np.ndarray

    @property
    def tiles(self) -> int:
        return len(self.counts) + len(self.predicted_left)


def estimate_powered_total(
    generator: np.random.Generator,
    counts: np.ndarray,
    predicted: np.ndarray,
    predicted_left: np.ndarray,
) -> Estimate | Refusal:
    """The total over all tiles by PPI++, with cross-fitted power tuning, in two strata.

    Within a stratum (predicted empty or not), the total is what was counted plus, for the m
    other tiles, m times PPI++'s mean: λ mean(predicted_left) + mean(counts - λ predicted).
    λ = Cov(counts, predicted) / Var(predicted) minimises the variance for a finite population;
    it is fitted on other folds than it is used on, so that the estimate is unbiased given the
    sizes of the strata. Tiles of the population that were reviewed have no variance.
    Sources: Angelopoulos, Duchi and Zrnic 2023, PPI++ (arXiv 2311.01453); Zrnic and Candès
    2024, Cross-prediction-powered inference; for finite populations Cochran 1977, chapter 7.

    Args:
        generator: divides the reviewed tiles into folds.
        counts: (n,) what people counted on tiles that were reviewed at random.
        predicted: (n,) >= 0 the detector's count of each, by a version that never saw it.
        predicted_left: (m,) >= 0 its counts of all other tiles.

    Returns:
        The estimate, or why there is none. Its interval is for a number of reviews that was
        fixed beforehand; its sequence is NaN unless all tiles were reviewed.

    Raises:
        ValueError: the arrays' shapes do not match, or a number is not finite.
    """
    counts, predicted = np.asarray(counts, float), np.asarray(predicted, float)
    predicted_left = np.asarray(predicted_left, float)
    if counts.ndim != 1 or counts.shape != predicted.shape or predicted_left.ndim != 1:
        raise ValueError("each reviewed tile needs one count and one prediction")
    for numbers in (counts, predicted, predicted_left):
        if not np.all(np.isfinite(numbers)):
            raise ValueError("a count or a prediction is not a finite number")
    number, tiles = len(counts), len(counts) + len(predicted_left)
    counted = counts.sum()
    if number == tiles:
        limits = np.full(2, counted)
        return Estimate(counted, limits, limits, counted, number, tiles)
    if number < FEWEST_REVIEWED:
        return Refusal(f"only {number} tiles were reviewed at random; {FEWEST_REVIEWED} are needed")
    strata = _divide_tiles(counts, predicted, predicted_left)
    parts = [_estimate_stratum(generator, stratum) for stratum in strata]
    value = np.sum([part for part, _ in parts])
    terms = np.concatenate([part for _, part in parts])
    variance = find_variance(terms)
    plain = tiles**2 * (1 - number / tiles) * np.var(counts, ddof=1) / number
    if plain <= 0:
        return Refusal("all tiles reviewed at random hold the same number of cells")
    if variance > (1 - SMALLEST_GAIN) * plain:
        return Refusal(
            "the detector's counts say too little about what people counted: the variance "
            f"is {variance / plain:.0%} of that without them"
        )
    jump = np.max([len(stratum.predicted_left) / len(stratum.counts) for stratum in strata])
    skew = find_skew(terms, jump)
    interval = limit_total(value, counted, variance, jump, find_quantile(terms), skew=skew)
    return Estimate(value, interval, np.full(2, np.nan), counted, number, tiles)


def _divide_tiles(
    counts: np.ndarray, predicted: np.ndarray, predicted_left: np.ndarray
) -> list[_Stratum]:
    """Predicted empty, or not; all in one where either has too few reviewed tiles."""
    empty, empty_left = predicted < EMPTY_BELOW, predicted_left < EMPTY_BELOW
    strata = [
        _Stratum(counts[inside], predicted[inside], predicted_left[left])
        for inside, left in ((empty, empty_left), (~empty, ~empty_left))
        if inside.any() or left.any()
    ]
    # A stratum that was reviewed whole has no error, however small it is.
    if any(len(s.counts) < FEWEST_IN_STRATUM and len(s.predicted_left) for s in strata):
        return [_Stratum(counts, predicted, predicted_left)]
    return strata


def _estimate_stratum(
    generator: np.random.Generator, stratum: _Stratum
) -> tuple[float, np.ndarray]:
    """The stratum's total, and the terms of its error: their squares sum to its variance.

    For each fold: what was counted outside it, plus an estimate for the fold and the tiles
    left, of which the fold is a random sample; the mean over the folds, by their sizes.
    """
    number, tiles = len(stratum.counts), stratum.tiles
    if number == tiles:
        return float(stratum.counts.sum()), np.zeros(number)
    fold = generator.permutation(np.arange(number) % FOLDS)
    value, residual = 0.0, np.empty(number)
    for each in range(FOLDS):
        inside = fold == each
        slope = fit_slope(stratum.counts[~inside], stratum.predicted[~inside])
        # The fold and the tiles that are left: what the other folds did not take.
        rest = tiles - np.count_nonzero(~inside)
        claimed = stratum.predicted[inside].sum() + stratum.predicted_left.sum()
        centred = stratum.predicted[inside] - claimed / rest
        residual[inside] = stratum.counts[inside] - slope * centred
        total = stratum.counts[~inside].sum() + rest * residual[inside].mean()
        value += np.count_nonzero(inside) / number * total
    scale = tiles * np.sqrt((1 - number / tiles) / (number * (number - 1)))
    return value, scale * (residual - residual.mean())


def fit_slope(counts: np.ndarray, predicted: np.ndarray) -> float:
    """λ: how much of the detector's count to take, 0 or more; 0 where it is always the same.

    Source: PPI++, section 6, without the part that is for unlabeled data drawn at random.

    Args:
        counts: (n,)
        predicted: (n,)
    """
    if len(counts) < 2:
        return 0.0
    apart = predicted - predicted.mean()
    spread = float(apart @ apart)
    return max(0.0, float(apart @ counts) / spread) if spread > 0 else 0.0
