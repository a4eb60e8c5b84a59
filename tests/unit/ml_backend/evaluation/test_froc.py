"""The free-response curve: held to counting at every threshold, and to hand-made cases."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_backend.evaluation.froc import FALSE_AN_IMAGE, compute_froc, pool_classes
from ml_backend.evaluation.matching import MatchedDetections
from tests.unit.ml_backend.evaluation.test_metrics import example, judge, predicted, random_case


def make_matched(confidence, hit, truths, group=None, ignored=None) -> MatchedDetections:
    confidence = np.asarray(confidence, float)
    order = np.argsort(-confidence, kind="stable")

    def row(values, kind):
        return np.zeros(len(order), kind) if values is None else np.asarray(values, kind)[order]

    return MatchedDetections(
        confidence[order],
        row(group, int),
        row(hit, bool)[None],
        row(ignored, bool)[None],
        np.asarray(truths, int),
    )


def plain(confidence, hit, truths: int, images: int) -> list[float]:
    """By trying every threshold."""
    best = [0.0] * len(FALSE_AN_IMAGE)
    for threshold in set(confidence):
        called = [h for c, h in zip(confidence, hit, strict=True) if c >= threshold]
        for place, rate in enumerate(FALSE_AN_IMAGE):
            if called.count(False) <= rate * images:
                best[place] = max(best[place], called.count(True) / truths)
    return best


boxes = st.lists(st.tuples(st.integers(1, 8).map(lambda c: c / 8), st.booleans()), max_size=40)


@settings(deadline=None)
@given(boxes, st.integers(0, 5), st.integers(1, 6))
def test_it_is_the_best_of_all_thresholds(drawn, missed: int, images: int) -> None:
    confidence, hit = [c for c, _ in drawn], [h for _, h in drawn]
    truths = max(1, sum(hit) + missed)
    got = compute_froc(make_matched(confidence, hit, [truths]), np.array([images]), np.ones((1, 1)))
    np.testing.assert_allclose(got[0], plain(confidence, hit, truths, images))
    assert (np.diff(got[0]) >= 0).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_a_weight_is_a_group_so_many_times(seed: int) -> None:
    random = np.random.default_rng(seed)
    size = int(random.integers(1, 30))
    confidence, hit = random.integers(1, 9, size) / 8, random.random(size) < 0.5
    group, weights = random.integers(0, 3, size), random.integers(0, 4, 3)
    truths = np.bincount(group[hit], minlength=3) + 1
    images = np.array([1, 2, 3])
    got = compute_froc(make_matched(confidence, hit, truths, group), images, weights[None])
    many = np.repeat(np.arange(size), weights[group])
    if weights.any():
        wanted = plain(
            list(confidence[many]),
            [bool(found) for found in hit[many]],
            int(weights @ truths),
            int(weights @ images),
        )
        np.testing.assert_allclose(got[0], wanted)
    else:
        assert np.isnan(got).all()


def test_by_hand() -> None:
    # Of 4 cells in 4 images: right, wrong, right, wrong, wrong, right; one is never found.
    matched = make_matched([0.9, 0.8, 0.7, 0.6, 0.5, 0.4], [1, 0, 1, 0, 0, 1], [4])
    got = compute_froc(matched, np.array([4]), np.ones((1, 1)))[0]
    assert got.tolist() == [0.25, 0.5, 0.5, 0.75, 0.75, 0.75, 0.75]


def test_ignored_boxes_are_not_false() -> None:
    matched = make_matched([0.9, 0.8], [0, 1], [1], ignored=[1, 0])
    assert compute_froc(matched, np.array([1]), np.ones((1, 1)))[0].tolist() == [1.0] * 7


def test_classes_are_pooled() -> None:
    both = pool_classes([make_matched([0.9, 0.3], [1, 0], [1]), make_matched([0.5], [1], [2])])
    assert both.confidence.tolist() == [0.9, 0.5, 0.3]
    assert both.hit[0].tolist() == [True, True, False] and both.truths.tolist() == [3]


def test_in_the_figures() -> None:
    figures = judge(*random_case(1, images=60))
    curve = [figure.value for figure in figures.froc.values()]
    assert list(figures.froc) == list(FALSE_AN_IMAGE) and curve == sorted(curve)
    assert figures.froc[1.0].interval is not None
    (point, *_) = figures.to_json()["froc"]
    assert set(point) == {"false_an_image", "sensitivity", "sensitivity_interval"}
    nothing = judge([example([])], [predicted([(0, 0, 9, 9, "Mitotic cell", 0.9)])])
    assert [figure.value for figure in nothing.froc.values()] == [None] * 7
    whole = judge([example([(0, 0, 9, 9, "Mitotic cell")])], [predicted([])])
    assert whole.froc[8.0].value == pytest.approx(0.0)
