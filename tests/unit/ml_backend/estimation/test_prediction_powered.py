"""Prediction-powered totals: beside the authors' package, over all samples, and refused."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from ppi_py import ppi_mean_ci, ppi_mean_pointestimate
from scipy.stats import norm

from ml_backend.estimation.estimate import Estimate
from ml_backend.estimation.prediction_powered import Refusal, estimate_powered_total, fit_slope


def estimate(counts, predicted, predicted_left, seed=0) -> Estimate:
    generator = np.random.default_rng(seed)
    found = estimate_powered_total(generator, counts, predicted, predicted_left)
    assert isinstance(found, Estimate), found
    return found


def make_tiles(generator, tiles, noise=0.5):
    """Counts, and predictions that are right up to some noise; none predicted empty."""
    counts = generator.poisson(4, tiles).astype(float)
    return counts, 1 + 0.7 * counts + noise * generator.standard_normal(tiles) ** 2


def test_agrees_with_the_authors_package() -> None:
    generator = np.random.default_rng(5)
    # So many other tiles that theirs, a sample of endless ones, and ours, all there are, agree.
    counts, predicted = make_tiles(generator, 400_000)
    seen, left = slice(0, 1000), slice(1000, None)
    found = estimate(counts[seen], predicted[seen], predicted[left])
    slope = fit_slope(counts[seen], predicted[seen])
    point = ppi_mean_pointestimate(counts[seen], predicted[seen], predicted[left], lam=slope)
    limits = ppi_mean_ci(counts[seen], predicted[seen], predicted[left], alpha=0.05, lam=slope)
    per_tile = (found.interval - found.counted) / (400_000 - 1000)
    error = (limits[1][0] - limits[0][0]) / (2 * norm.ppf(0.975))
    mean = (float(found.value) - float(found.counted)) / (400_000 - 1000)
    # Ours fits the slope on other folds than it is used on: a difference far below the error.
    assert mean == pytest.approx(float(point[0]), abs=0.1 * error)
    assert per_tile[0] == pytest.approx(float(limits[0][0]), abs=0.1 * error)
    assert per_tile[1] == pytest.approx(float(limits[1][0]), abs=0.1 * error)


def test_its_power_tuning_is_that_of_the_package() -> None:
    generator = np.random.default_rng(6)
    counts, predicted = make_tiles(generator, 200_000, noise=2)
    seen, left = slice(0, 500), slice(500, None)
    tuned = ppi_mean_ci(counts[seen], predicted[seen], predicted[left], alpha=0.05)
    ours = estimate(counts[seen], predicted[seen], predicted[left]).interval / 200_000
    assert np.ptp(ours) == pytest.approx(float(tuned[1][0] - tuned[0][0]), rel=0.1)


def test_unbiased_over_all_samples() -> None:
    generator = np.random.default_rng(7)
    counts, predicted = make_tiles(generator, 34)
    empty = generator.random(34) < 0.5
    counts[empty], predicted[empty] = generator.poisson(0.2, empty.sum()), 0.1
    folds = np.random.default_rng(8)
    errors = []
    for out in combinations(range(34), 2):
        left = np.isin(np.arange(34), out)
        for _ in range(4):
            found = estimate_powered_total(folds, counts[~left], predicted[~left], predicted[left])
            assert isinstance(found, Estimate)
            errors.append(float(found.value) - counts.sum())
    # What is left is the chance of the folds.
    assert abs(np.mean(errors)) < 0.05 * np.std(errors) + 1e-9


def test_is_the_package_to_the_last_digit_where_every_fold_has_one_slope() -> None:
    generator = np.random.default_rng(12)
    predicted, predicted_left = generator.uniform(1, 9, 60), generator.uniform(1, 9, 200)
    counts = 1.5 * predicted + 2
    found = estimate(counts, predicted, predicted_left)
    point = ppi_mean_pointestimate(counts, predicted, predicted_left, lam=1.5)
    assert (found.value - found.counted) / 200 == pytest.approx(float(point[0]))


def test_a_perfect_detector_leaves_almost_no_width() -> None:
    counts, _ = make_tiles(np.random.default_rng(9), 500)
    found = estimate(counts[:100], counts[:100] / 2, counts[100:] / 2)
    assert float(found.value) == pytest.approx(counts.sum())
    # One more cell on a tile stays possible.
    assert np.ptp(found.interval) < 25


def test_narrower_than_without_the_detector_and_it_holds() -> None:
    generator = np.random.default_rng(10)
    held, widths, plain = 0, [], []
    for _ in range(200):
        truth = generator.poisson(generator.gamma(0.3, 2, 800)).astype(float)
        predicted = np.maximum(0, truth * 0.6 + generator.standard_normal(800) * 0.3)
        found = estimate(truth[:150], predicted[:150], predicted[150:])
        low, high = found.interval
        held += low <= truth.sum() <= high
        widths.append(high - low)
        spread = np.std(truth[:150], ddof=1) * np.sqrt((1 - 150 / 800) / 150)
        plain.append(2 * 1.96 * 800 * spread)
    assert held / 200 > 0.90
    assert np.mean(widths) < 0.75 * np.mean(plain)
    assert np.isnan(found.sequence).all()


def test_a_full_review_is_the_count() -> None:
    found = estimate(np.array([1.0, 2.0]), np.array([5.0, 0.0]), np.zeros(0))
    assert found.value == 3 and found.interval.tolist() == [3, 3]


@pytest.mark.parametrize("seed", range(5))
def test_refuses_a_detector_that_knows_nothing(seed) -> None:
    generator = np.random.default_rng(seed)
    counts, predicted = make_tiles(generator, 500)
    generator.shuffle(predicted)
    found = estimate_powered_total(generator, counts[:100], predicted[:100], predicted[100:])
    assert isinstance(found, Refusal) and "too little" in found.reason


def test_refuses_too_few_tiles() -> None:
    counts, predicted = make_tiles(np.random.default_rng(0), 29)
    found = estimate_powered_total(np.random.default_rng(0), counts, predicted, np.ones(5))
    assert found == Refusal("only 29 tiles were reviewed at random; 30 are needed")


def test_refuses_equal_counts() -> None:
    found = estimate_powered_total(
        np.random.default_rng(0), np.zeros(50), np.arange(50.0), np.ones(5)
    )
    assert isinstance(found, Refusal) and "same number" in found.reason


@pytest.mark.parametrize(
    ("counts", "predicted", "message"),
    [
        ([1.0, 2.0], [1.0], "one count and one prediction"),
        ([1.0, np.nan], [1.0, 2.0], "not a finite number"),
    ],
)
def test_bad_input(counts, predicted, message) -> None:
    with pytest.raises(ValueError, match=message):
        estimate_powered_total(
            np.random.default_rng(0), np.array(counts), np.array(predicted), np.ones(2)
        )


def test_slope_is_least_squares_and_never_negative() -> None:
    generator = np.random.default_rng(1)
    counts, predicted = make_tiles(generator, 80)
    assert fit_slope(counts, predicted) == pytest.approx(np.polyfit(predicted, counts, 1)[0])
    assert fit_slope(counts, -predicted) == 0
    assert fit_slope(counts, np.ones(80)) == 0
