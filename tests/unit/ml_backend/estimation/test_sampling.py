"""Draws: that their probabilities are what they are recorded as, and what the weights follow."""

from __future__ import annotations

from collections import Counter
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import chisquare

from ml_backend.estimation.sampling import (
    RELIANCE,
    Draws,
    draw_tiles,
    expect_counts,
    mix_uniform,
    weigh_tiles,
)

weights = arrays(float, st.integers(1, 30), elements=st.floats(0, 100))


@given(weights, st.floats(0.01, 1))
def test_mixed_probabilities_sum_to_one_and_reach_every_tile(weight, share) -> None:
    chance = mix_uniform(weight, share)
    assert chance.sum() == pytest.approx(1)
    assert np.all(chance >= share / len(weight) - 1e-12)


def test_mixture_by_hand() -> None:
    assert mix_uniform(np.array([3.0, 1.0]), 0.2) == pytest.approx([0.7, 0.3])
    assert mix_uniform(np.zeros(4)) == pytest.approx([0.25] * 4)


@pytest.mark.parametrize("weight", [[-1.0, 2.0], [np.nan, 1.0], [np.inf, 1.0]])
def test_impossible_weight(weight) -> None:
    with pytest.raises(ValueError, match="finite number"):
        mix_uniform(np.array(weight))


def test_impossible_share() -> None:
    with pytest.raises(ValueError, match="uniform share"):
        mix_uniform(np.ones(3), 0)


@given(weights, st.integers(0, 2**32), st.integers(0, 40), st.data())
def test_each_tile_once_and_only_those_left(weight, seed, size, data) -> None:
    left = data.draw(arrays(bool, len(weight)))
    draws = draw_tiles(np.random.default_rng(seed), weight, left, size)
    assert len(draws.index) == len(draws.probability) == min(size, left.sum())
    assert len(set(draws.index.tolist())) == len(draws.index)
    assert left[draws.index].all()


@given(weights, st.integers(0, 2**32))
def test_recorded_probability_is_the_share_of_what_was_left(weight, seed) -> None:
    draws = draw_tiles(np.random.default_rng(seed), weight, np.ones(len(weight), bool))
    chance = mix_uniform(weight)
    for place, (index, probability) in enumerate(zip(draws.index, draws.probability, strict=True)):
        assert probability == pytest.approx(chance[index] / chance[draws.index[place:]].sum())
    assert draws.probability[-1] == 1


@given(weights, st.integers(0, 2**32), st.data())
def test_what_was_expected_is_kept_with_the_draws(weight, seed, data) -> None:
    left = data.draw(arrays(bool, len(weight)))
    draws = draw_tiles(np.random.default_rng(seed), weight, left, 5, expected=weight)
    assert draws.expected == pytest.approx(RELIANCE * weight[draws.index])
    for place, expected_left in enumerate(draws.expected_left):
        drawn = draws.index[:place]
        rest = np.delete(RELIANCE * weight * left, drawn).sum()
        assert expected_left == pytest.approx(rest)


def test_orders_come_as_often_as_their_probabilities_say() -> None:
    generator = np.random.default_rng(3)
    weight, left = np.array([5.0, 1.0, 0.0, 9.0]), np.array([True, True, True, False])
    seen: Counter[tuple[int, ...]] = Counter()
    recorded: dict[tuple[int, ...], float] = {}
    for _ in range(6000):
        draws: Draws = draw_tiles(generator, weight, left, 2)
        order = tuple(draws.index.tolist())
        seen[order] += 1
        recorded[order] = float(draws.probability.prod())
    orders = list(permutations(range(3), 2))
    assert sum(recorded.values()) == pytest.approx(1)
    expected = [6000 * recorded[order] for order in orders]
    assert chisquare([seen[order] for order in orders], expected).pvalue > 1e-3


def learned(claimed, counts):
    """Weights after the first tiles of a scan were reviewed."""
    claimed, counts = np.asarray(claimed, float), np.asarray(counts, float)
    return weigh_tiles(expect_counts(claimed, claimed[: len(counts)], counts))


@given(st.integers(0, 2**32))
def test_weights_follow_their_tiles(seed) -> None:
    generator = np.random.default_rng(seed)
    claimed = generator.gamma(0.3, 1, 50)
    counts = generator.poisson(claimed[:20])
    order = generator.permutation(50)
    straight = weigh_tiles(expect_counts(claimed, claimed[:20], counts))
    turned = weigh_tiles(expect_counts(claimed[order], claimed[:20], counts))
    assert turned == pytest.approx(straight[order])
    assert np.all(straight >= 0) and np.all(np.isfinite(straight))


def test_before_any_review_the_detector_leads_but_not_alone() -> None:
    weight = learned([0.0] * 90 + [2.0] * 10, [])
    assert weight[-1] > weight[0] > 0


def test_a_confirmed_detector_is_believed_more_than_a_refuted_one() -> None:
    claimed = np.tile([0.0, 0.0, 0.0, 2.0], 100)
    confirmed = learned(claimed, np.tile([0, 0, 0, 2], 25))
    refuted = learned(claimed, np.tile([1, 0, 0, 0], 25))
    assert confirmed[3] / confirmed[0] > 3 * refuted[3] / refuted[0]


def test_a_detector_that_knows_nothing_ends_in_uniform_drawing() -> None:
    claimed = np.tile([0.0, 0.0, 1.0, 1.0], 100)
    weight = learned(claimed, np.tile([1, 0, 1, 0], 50))
    assert np.ptp(weight) == pytest.approx(0)


def test_claims_of_zero_everywhere_are_uniform() -> None:
    weight = learned(np.zeros(20), [0, 1, 0])
    assert np.ptp(weight) == 0


def test_without_a_cell_so_far_the_claims_still_lead() -> None:
    weight = learned([0.0] * 30 + [1.0] * 10, [0] * 20)
    assert weight[-1] > weight[0]
