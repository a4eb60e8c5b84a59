"""The strategies that need more than boxes: features, other models."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.active_learning.strategies.base import Candidate, Context
from ml_backend.active_learning.strategies.committee import measure_disagreement, score_committee
from ml_backend.active_learning.strategies.exemplar import score_exemplar, whiten
from ml_backend.active_learning.strategies.ppal import (
    BETA,
    order_farthest_first,
    score_ppal,
    weigh_class,
)
from ml_backend.imaging.boxes import Boxes


def make_boxes(*confidence: float, label: str = "Metaphase", left: float = 0) -> Boxes:
    xyxy = np.array([[left + 20 * n, 0, left + 20 * n + 10, 10] for n in range(len(confidence))])
    return Boxes(xyxy, [label] * len(confidence), confidence)


def make_candidate(key: str, angle: float, confidence: float = 0.5) -> Candidate:
    features = np.array([[np.cos(angle), np.sin(angle)]], np.float32)
    return Candidate(key, make_boxes(confidence), features)


def test_more_like_this_one() -> None:
    # What all have in common, the third number, says nothing.
    rng = np.random.default_rng(0)
    angles = rng.uniform(0, 2 * np.pi, 200)
    rows = np.stack([np.cos(angles), 0.2 * np.sin(angles), np.full(200, 5.0)], axis=1)
    boxes = make_boxes(0.5)
    queue = [Candidate(f"{n}", boxes, rows[n : n + 1].astype(np.float32)) for n in range(200)]
    queue.append(Candidate("empty", Boxes(), np.zeros((0, 3), np.float32)))
    marked = np.array([[np.cos(1), 0.2 * np.sin(1), 5]], np.float32)
    scores = score_exemplar(queue, Context(0.25, exemplars=marked))
    away = np.abs((angles - 1 + np.pi) % (2 * np.pi) - np.pi)
    nearest = np.argsort(away)[:20]
    assert set(np.argsort(scores)[:15]) < set(nearest.tolist())
    assert (scores[:200] <= 0.75).all() and scores[200] >= 0.75
    assert (score_exemplar(queue, Context(0.25)) >= 0.75).all()


@given(st.integers(2, 6), st.integers(0, 1000))
def test_whitened_features_have_no_mean_and_one_spread(width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(50, width)) * rng.uniform(0.1, 9, width) + rng.normal(size=width)
    (shown,) = whiten([rows], rows)
    assert np.allclose(np.linalg.norm(shown, axis=1), 1)
    (moved,) = whiten([rows * 3 + 7], rows * 3 + 7)  # neither place nor size matters
    assert np.allclose(np.abs(shown @ shown.T), np.abs(moved @ moved.T), atol=1e-6)


def test_a_class_weighs_from_1_to_its_most() -> None:
    weights = [weigh_class(difficulty) for difficulty in (0, 0.2, 1)]
    assert weights[0] == 1 and weights[2] == pytest.approx(1 + BETA)
    assert 1 < weights[1] < weights[2]


def test_first_doubt_then_difference() -> None:
    # Three groups of look-alikes: the first three are one of each.
    queue = [make_candidate(f"{g} {n}", 2 * g + 0.01 * n) for g in range(3) for n in range(5)]
    first = order_farthest_first(queue)[:3]
    assert {queue[place].key[0] for place in first} == {"0", "1", "2"}
    # What is far less doubtful than the few candidates comes after all of them.
    sure = [make_candidate(f"sure {n}", n, 0.999) for n in range(50)]
    many = [make_candidate(f"{n}", n % 7) for n in range(120)]
    order = np.argsort(score_ppal(sure + many, Context(0.25)))
    assert set(order[:120].tolist()) == set(range(50, 170))


def test_difficult_classes_come_first() -> None:
    easy, hard = (
        Candidate(name, make_boxes(0.5, label=name), np.ones((1, 1), np.float32))
        for name in ("easy", "hard")
    )
    scores = score_ppal([easy, hard], Context(0.25, difficulty={"easy": 0.1, "hard": 0.9}))
    assert scores[1] < scores[0]


def test_disagreement_by_hand() -> None:
    both = make_boxes(0.9, 0.5)
    assert measure_disagreement(both, both) == pytest.approx(0)
    assert measure_disagreement(both, Boxes()) == pytest.approx(1.4)
    assert measure_disagreement(both, make_boxes(0.6)) == pytest.approx(0.3 + 0.5)
    renamed = make_boxes(0.9, 0.5, label="Anaphase")
    assert measure_disagreement(both, renamed) == pytest.approx(2.8)
    agreed, disputed = Candidate("a", both, None, (both,)), Candidate("b", both, None, (renamed,))
    assert score_committee([agreed, disputed], Context(0.25)).tolist() == pytest.approx(
        [1, 1 / 3.8]
    )


confidences = st.lists(st.floats(0, 1, width=32), max_size=4).map(lambda c: make_boxes(*c))


@given(confidences, confidences)
def test_disagreement_is_mutual(first: Boxes, second: Boxes) -> None:
    there, back = measure_disagreement(first, second), measure_disagreement(second, first)
    assert there == pytest.approx(back, abs=1e-6)
    assert there <= float(first.confidence.sum() + second.confidence.sum()) + 1e-6
