"""Counts: unbiased over all orders of drawing, exact when all is reviewed, and honest limits."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ml_backend.estimation.count import Expected, estimate_ratio, estimate_total, weigh_total
from ml_backend.estimation.sampling import draw_tiles, expect_counts, mix_uniform, weigh_tiles

Weigh = Callable[[list[int]], np.ndarray]


def enumerate_draws(tiles: int, size: int, weigh: Weigh):
    """Every order of `size` tiles, its probability, and those of its draws.

    weigh: from the tiles drawn so far to the weights of all tiles for the next draw.
    """
    for order in permutations(range(tiles), size):
        drawn: list[int] = []
        chances = []
        for tile in order:
            left = [other for other in range(tiles) if other not in drawn]
            chance = mix_uniform(weigh(drawn)[left])
            chances.append(chance[left.index(tile)])
            drawn.append(tile)
        yield np.array(order), float(np.prod(chances)), np.array(chances)


POPULATIONS = [
    [0, 0, 3, 1, 0],
    [2, 0, 0, 0, 7],
    [1, 1, 1, 1, 1],
]


@pytest.mark.parametrize("counts", POPULATIONS)
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_unbiased_although_the_weights_follow_what_was_seen(counts, size) -> None:
    counts = np.array(counts)
    claims = np.array([0.1, 2.0, 0.5, 0.0, 0.3])

    def weigh(drawn: list[int]) -> np.ndarray:
        # A detector that is retrained after every draw, and swings as it likes.
        return np.roll(claims, int(counts[drawn].sum())) + len(drawn)

    total, mean = 0.0, 0.0
    for order, chance, probability in enumerate_draws(5, size, weigh):
        total += chance
        mean += chance * float(weigh_total(counts[order], probability, 5).value)
    assert total == pytest.approx(1)
    assert mean == pytest.approx(counts.sum())


@pytest.mark.parametrize("counts", POPULATIONS)
@pytest.mark.parametrize("size", [1, 3, 4])
def test_unbiased_whatever_was_expected(counts, size) -> None:
    counts = np.array(counts)

    def expect(drawn) -> np.ndarray:
        # What is expected changes with what was seen, and is wrong.
        return np.roll([0.5, 3.0, 0.0, 1.0, 2.0], int(counts[drawn].sum()))

    mean = 0.0
    for order, chance, probability in enumerate_draws(5, size, lambda drawn: 1 + expect(drawn)):
        befores = [list(order[:place]) for place in range(size)]
        own = np.array([expect(drawn)[tile] for drawn, tile in zip(befores, order, strict=True)])
        left = np.array([np.delete(expect(drawn), drawn).sum() for drawn in befores])
        found = weigh_total(counts[order], probability, 5, Expected(own, left))
        mean += chance * float(found.value)
    assert mean == pytest.approx(counts.sum())


def test_where_the_expected_is_right_there_is_no_spread() -> None:
    counts = np.array([0, 4, 1, 0, 2, 0, 0, 1.0])
    draws = draw_tiles(np.random.default_rng(1), np.ones(8), np.ones(8, bool), 4)
    own = counts[draws.index]
    left = 8 - np.cumsum(own) + own
    found = weigh_total(own, draws.probability, 8, Expected(own, left))
    assert found.value == pytest.approx(8)
    assert found.terms == pytest.approx(np.zeros(4))


def test_a_share_with_tiles_beside_the_drawn_ones() -> None:
    probability = 1 / (100 - np.arange(40))
    part, whole = np.tile([1, 0], 20), np.full(40, 2)
    alone = estimate_ratio(part, whole, probability, 100)
    beside = estimate_ratio(part, whole, probability, 100, known_part=50, known_whole=50)
    assert beside.value == pytest.approx((float(alone.value) * 200 + 50) / 250)
    assert beside.counted == pytest.approx(70 / 130)
    assert np.ptp(beside.interval) < np.ptp(alone.interval)


@pytest.mark.parametrize("size", [2, 3, 4])
def test_the_variance_is_right_on_average_when_drawing_is_uniform(size) -> None:
    counts = np.array([0, 4, 1, 0, 2])
    values, variances = [], []
    for order, _, probability in enumerate_draws(5, size, lambda _: np.ones(5)):
        found = weigh_total(counts[order], probability, 5)
        values.append(float(found.value))
        variances.append(float(np.sum(found.terms**2)))
    # The estimate leans on its last draws, so so small a population is met only roughly.
    assert np.mean(variances) == pytest.approx(np.var(values), rel=0.35)


cases = st.integers(2, 40).flatmap(
    lambda n: st.tuples(
        arrays(int, n, elements=st.integers(0, 20)),
        arrays(float, n, elements=st.floats(0.001, 1)),
        st.integers(n, 200),
    )
)


@given(cases)
def test_when_drawing_is_uniform_it_is_the_mean_times_the_tiles(case) -> None:
    counts, _, tiles = case
    probability = 1 / (tiles - np.arange(len(counts)))
    value = weigh_total(counts, probability, tiles).value
    assert value == pytest.approx(tiles * counts.mean())


@given(cases, st.floats(0.1, 10))
def test_the_estimate_scales_and_adds(case, factor) -> None:
    counts, probability, tiles = case
    other = counts[::-1] % 3

    def value(numbers):
        return float(weigh_total(numbers, probability, tiles).value)

    assert value(factor * counts) == pytest.approx(factor * value(counts), abs=1e-6)
    assert value(counts + other) == pytest.approx(value(counts) + value(other), abs=1e-6)


@given(cases)
def test_classes_are_estimated_as_if_alone(case) -> None:
    counts, probability, tiles = case
    both = estimate_total(np.stack([counts, counts // 2]), probability, tiles)
    alone = estimate_total(counts // 2, probability, tiles)
    assert both.value[1] == pytest.approx(float(alone.value))
    assert both.interval[1] == pytest.approx(alone.interval, nan_ok=True)
    assert both.sequence[1] == pytest.approx(alone.sequence, nan_ok=True)


@given(cases)
def test_a_full_review_is_the_count_without_width(case) -> None:
    counts, _, _ = case
    n = len(counts)
    draws = draw_tiles(np.random.default_rng(0), counts, np.ones(n, bool))
    counts = counts[draws.index]
    found = estimate_total(counts, draws.probability, n)
    assert float(found.value) == counts.sum() == found.counted
    assert found.interval.tolist() == found.sequence.tolist() == [counts.sum()] * 2
    share = estimate_ratio(counts // 2, counts, draws.probability, n)
    if counts.sum():
        expected = (counts // 2).sum() / counts.sum()
        assert share.interval == pytest.approx([expected] * 2)
        assert share.sequence == pytest.approx([expected] * 2)


def test_intervals_wait_for_enough_tiles() -> None:
    def reviewed(n):
        return estimate_total(np.ones(n) + np.arange(n) % 2, np.full(n, 0.01), 1000)

    assert np.isnan(reviewed(29).interval).all()
    assert np.isfinite(reviewed(30).interval).all()
    assert np.isnan(reviewed(49).sequence).all()
    assert np.isfinite(reviewed(50).sequence).all()


def test_nothing_reviewed_is_unknown() -> None:
    found = estimate_total(np.zeros(0), np.zeros(0), 10)
    assert np.isnan(found.value) and np.isnan(found.interval).all()


def test_without_a_cell_seen_there_may_still_be_some() -> None:
    n, tiles = 100, 1000
    probability = 1 / (tiles - np.arange(n))
    found = estimate_total(np.zeros(n), probability, tiles)
    assert found.value == 0 and found.interval[0] == 0
    # The exact limit for a sample without a hit is about 28 of 1,000 ('rule of three').
    assert 20 < found.interval[1] < 60
    share = estimate_ratio(np.zeros(n), np.full(n, 5), probability, tiles)
    assert share.value == 0 and 0 < share.interval[1] < 0.02


def test_no_whole_has_no_share() -> None:
    share = estimate_ratio(np.zeros(40), np.zeros(40), np.full(40, 0.01), 100)
    assert np.isnan(share.value) and np.isnan(share.interval).all()


@pytest.mark.parametrize(
    ("counts", "probability", "tiles", "message"),
    [
        ([1, 2], [0.5], 5, "2 counts, but 1 probabilities"),
        ([1, 2], [0.5, 0.5], 1, "2 tiles were drawn of 1"),
        ([1, 2], [0.5, 0.0], 5, "over 0 and at most 1"),
        ([1, 2], [0.5, np.nan], 5, "over 0 and at most 1"),
    ],
)
def test_bad_input(counts, probability, tiles, message) -> None:
    with pytest.raises(ValueError, match=message):
        estimate_total(np.array(counts), np.array(probability), tiles)


def test_a_part_larger_than_its_whole() -> None:
    with pytest.raises(ValueError, match="more cells than its whole"):
        estimate_ratio(np.array([2]), np.array([1]), np.array([0.1]), 10)


def review(generator, claimed, truth, rounds):
    """The order and probabilities of so many rounds of 50, the weights learned between them."""
    index, probability = np.zeros(0, int), np.zeros(0)
    left = np.ones(len(truth), bool)
    for _ in range(rounds):
        weight = weigh_tiles(expect_counts(claimed, claimed[index], truth[index]))
        draws = draw_tiles(generator, weight, left, 50)
        index, probability = np.r_[index, draws.index], np.r_[probability, draws.probability]
        left[draws.index] = False
    return index, probability


@pytest.mark.parametrize("informed", [True, False])
def test_intervals_hold_the_truth_as_often_as_they_say(informed) -> None:
    generator = np.random.default_rng(11)
    scans, inside, always, index_inside = 150, 0, 0, 0
    for _ in range(scans):
        truth = generator.poisson(generator.gamma(0.2, 0.6, 1000))
        cells = truth + generator.poisson(8, 1000)
        claimed = truth * 0.8 + generator.gamma(0.2, 0.2, 1000)
        if not informed:
            claimed = generator.permutation(claimed)
        index, probability = review(generator, claimed, truth, 4)
        counts = truth[index]
        looks = [estimate_total(counts[:n], probability[:n], 1000) for n in range(50, 201, 10)]
        held = [look.sequence[0] <= truth.sum() <= look.sequence[1] for look in looks]
        always += all(held)
        inside += bool(looks[-1].interval[0] <= truth.sum() <= looks[-1].interval[1])
        share = estimate_ratio(counts, cells[index], probability, 1000)
        index_inside += bool(share.interval[0] <= truth.sum() / cells.sum() <= share.interval[1])
    # 0.95 less three standard errors of so few scans.
    assert inside / scans > 0.90
    assert index_inside / scans > 0.90
    assert always / scans > 0.90
    assert inside < scans


def test_a_good_detector_narrows_the_interval() -> None:
    generator = np.random.default_rng(2)
    truth = generator.poisson(generator.gamma(0.1, 1.2, 2000))
    widths = []
    for claimed in (truth * 0.8 + 0.01, np.zeros(2000)):
        index, probability = review(generator, claimed, truth, 4)
        low, high = estimate_total(truth[index], probability, 2000).interval
        widths.append(high - low)
    assert widths[0] < widths[1] / 2
