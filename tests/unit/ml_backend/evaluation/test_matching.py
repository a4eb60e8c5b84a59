"""Which boxes belong together, against COCO's rules written out as a loop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ml_backend.evaluation.matching import (
    IOU_LEVELS,
    choose_partners,
    compute_coverage,
    match_boxes,
    match_images,
)

sizes = st.tuples(st.integers(0, 6), st.integers(0, 6))
# Few values, so that boxes are often equally good.
overlaps = sizes.flatmap(
    lambda shape: arrays.arrays(np.float64, shape, elements=st.sampled_from([0, 0.4, 0.6, 0.6, 1]))
)


def choose_by_hand(overlap: np.ndarray, level: float) -> list[int]:
    """The greedy matching of pycocotools, for one level and without ignored boxes."""
    taken: set[int] = set()
    partners = []
    for row in overlap:
        best, found = level, -1
        for truth, value in enumerate(row):
            if truth not in taken and value >= best:
                best, found = value, truth
        if found >= 0:
            taken.add(found)
        partners.append(found)
    return partners


@given(overlaps)
def test_boxes_choose_in_turn_the_free_one_they_overlap_most(overlap: np.ndarray) -> None:
    levels = np.array([0.5, 0.7])
    partners = choose_partners(overlap, levels)
    assert partners.shape == (2, len(overlap))
    for level, row in zip(levels, partners.tolist(), strict=True):
        assert row == choose_by_hand(overlap, level)


@st.composite
def boxes(draw: st.DrawFn) -> np.ndarray:
    rows = draw(
        st.lists(st.tuples(*[st.integers(0, 30)] * 2, *[st.integers(1, 20)] * 2), max_size=5)
    )
    found = np.array(rows, float).reshape(-1, 4)
    found[:, 2:] += found[:, :2]
    return found


@given(boxes(), boxes())
def test_a_share_in_a_region_is_counted_in_pixels(inner: np.ndarray, regions: np.ndarray) -> None:
    coverage = compute_coverage(inner, regions)
    assert coverage.shape == (len(inner), len(regions))
    for i, box in enumerate(inner.astype(int)):
        for j, region in enumerate(regions.astype(int)):
            mask = np.zeros((60, 60), bool)
            mask[region[1] : region[3], region[0] : region[2]] = True
            assert coverage[i, j] == pytest.approx(mask[box[1] : box[3], box[0] : box[2]].mean())


@given(boxes(), boxes(), boxes())
def test_no_truth_is_found_twice_and_no_hit_is_ignored(
    predicted: np.ndarray, truth: np.ndarray, ignored: np.ndarray
) -> None:
    hit, left_out = match_boxes(predicted, truth, ignored)
    assert hit.shape == left_out.shape == (len(IOU_LEVELS), len(predicted))
    assert (hit.sum(axis=1) <= len(truth)).all() and not (hit & left_out).any()
    assert (np.diff(hit.sum(axis=1)) <= 0).all()  # a stricter level finds no more


@given(st.lists(st.tuples(boxes(), boxes(), st.integers(0, 2)), max_size=4), st.integers(0, 99))
def test_all_images_together_are_the_images_one_by_one(
    images: list[tuple[np.ndarray, np.ndarray, int]], seed: int
) -> None:
    random = np.random.default_rng(seed)
    none = np.zeros((0, 4))
    given_images = [
        (predicted, random.random(len(predicted)), truth, none) for predicted, truth, _ in images
    ]
    group = np.array([member for _, _, member in images], int)
    matches = match_images(given_images, group, 3)
    assert (np.diff(matches.confidence) <= 0).all()
    for member in range(3):
        mine = [entry for entry, (_, _, g) in zip(given_images, images, strict=True) if g == member]
        assert matches.truths[member] == sum(len(truth) for _, _, truth, _ in mine)
        hits = sum(
            (
                match_boxes(p[np.argsort(-c, kind="stable")], t, none)[0].sum(axis=1)
                for p, c, t, _ in mine
            ),
            np.zeros(len(IOU_LEVELS), int),
        )
        assert matches.hit[:, matches.group == member].sum(axis=1).tolist() == hits.tolist()
