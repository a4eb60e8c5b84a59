"""Rare objects come more often, common ones as they come."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.learners.detector.training_data.augmentation import (
    DELETED,
    TrainingImage,
    choose_index,
)
from ml_backend.learners.detector.training_data.class_balancing import (
    MOST,
    RARE,
    compute_image_weights,
    compute_repeat_factors,
    resample_indices,
    weight_objects,
)


def view(*labels: int) -> TrainingImage:
    boxes = np.tile([[0, 0, 9, 9]], (len(labels), 1)).astype(np.float32)
    nowhere = np.zeros((0, 4), np.float32)
    return TrainingImage(np.zeros((20, 20, 3), np.uint8), boxes, np.array(labels, int), nowhere)


counts = st.lists(st.integers(1, 10_000), min_size=1, max_size=8)


@given(counts)
def test_the_rarer_the_more_but_never_more_of_it_than_of_a_commoner_one(given: list[int]) -> None:
    number = np.array(given)
    factor = compute_repeat_factors(number)
    assert (factor >= 1).all() and (factor <= MOST).all()
    assert (factor[number >= RARE * number.max()] == 1).all()
    order = np.argsort(number)
    assert (np.diff(factor[order]) <= 0).all()
    assert (np.diff((number * factor)[order]) >= -1e-6).all()


def test_lvis_by_hand() -> None:
    """400 interphase nuclei and 6 anaphases: sqrt(0.25 · 400 / 6), held at 4."""
    assert compute_repeat_factors(np.array([400, 25, 6])).tolist() == [1, 2, MOST]
    assert compute_repeat_factors(np.array([400, 6]))[1] == pytest.approx(
        min(np.sqrt(100 / 6), MOST)
    )


@given(st.lists(st.integers(0, 3), max_size=6), st.integers(1, 20))
def test_two_classes_within_a_quarter_are_left_as_they_are(extra: list[int], cells: int) -> None:
    views = [*(view(0, 1, 1, 1) for _ in range(cells)), view(), view(0, 1)]
    assert weight_objects(views) == views
    assert compute_image_weights(views) is None
    rng, same = np.random.default_rng(0), np.random.default_rng(0)
    indices = np.arange(len(views))
    assert resample_indices(indices, None, rng) is indices
    # What is chosen then, and the random numbers it takes, are those of an even choice.
    assert [choose_index(None, 9, rng) for _ in extra] == [int(same.integers(9)) for _ in extra]


@given(
    st.lists(st.floats(1, MOST), min_size=1, max_size=30),
    st.data(),
    st.integers(0, 2**32 - 1),
)
def test_a_draw_is_in_proportion(weight: list[float], data: st.DataObject, seed: int) -> None:
    """As many as there are, each the whole number below or above its share."""
    weights = np.array(weight)
    indices = np.repeat(
        np.arange(len(weights)),
        data.draw(st.lists(st.integers(1, 3), min_size=len(weights), max_size=len(weights))),
    )
    drawn = resample_indices(indices, weights, np.random.default_rng(seed))
    assert len(drawn) == len(indices)
    share = weights[indices] * len(indices) / weights[indices].sum()
    for index in range(len(weights)):
        expected = share[indices == index].sum()
        assert np.floor(expected - 1e-6) <= (drawn == index).sum() <= np.ceil(expected + 1e-6)


def test_images_count_by_their_rarest_object() -> None:
    views = weight_objects([view(*[0] * 40) for _ in range(10)] + [view(0, 1), view()])
    weights = compute_image_weights(views)
    assert weights is not None
    assert weights.tolist() == [1] * 10 + [MOST, 1]
    rare = views[10]
    chosen = [choose_index(rare.weight, 2, np.random.default_rng(seed)) for seed in range(500)]
    assert np.mean(chosen) == pytest.approx(MOST / (MOST + 1), abs=0.06)


def test_few_places_of_nothing_count_much_and_many_do_not_push_the_cells_out() -> None:
    few = compute_image_weights(weight_objects([*(view(0, 0) for _ in range(50)), view(DELETED)]))
    assert few is not None and few[-1] == MOST and (few[:-1] == 1).all()
    many = weight_objects([view(0), *(view(*[DELETED] * 100) for _ in range(4)), view(*[0] * 3)])
    total = dict.fromkeys((0, DELETED), 0.0)
    for image in many:
        assert image.weight is not None
        for label in total:
            total[label] += image.weight[image.label == label].sum()
    assert total[DELETED] == pytest.approx(np.sqrt(4 * 400)) and total[0] == 4
    assert compute_image_weights(many) is None  # no image comes less often for what is not in it
    # Nothing but places of nothing: every image of them a true negative.
    assert len(weight_objects([view(DELETED), view()])) == 2
