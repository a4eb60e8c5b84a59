"""Boxes of each class over many images: counts by hand, and their sums in the figures."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from ml_backend.evaluation.class_matches import (
    MatchCounts,
    compute_class_f1,
    compute_rates,
    count_matches,
    mask_classes,
    mask_predicted,
    match_classes,
)
from ml_backend.imaging.boxes import Boxes
from ml_backend.label_studio.class_names import canonicalize
from tests.unit.ml_backend.evaluation.test_metrics import (
    example,
    judge,
    laws,
    predicted,
    random_case,
    seeds,
)

CELL = (0, 0, 10, 10, "Mitotic cell")


def test_class_names_are_compared_by_their_canonical_form() -> None:
    boxes = Boxes.from_rows([CELL, (0, 0, 10, 10, "mitotic_CELL"), (0, 0, 10, 10, "Other")])
    assert mask_classes(boxes, {canonicalize("Mitotic cell")}).tolist() == [True, True, False]
    # Spelled as in the headline; a class that is only predicted is not judged.
    found = [(0, 0, 10, 10, "mitotic-cell", 0.9), (0, 0, 10, 10, "Tetrad", 0.9)]
    (name,) = match_classes(
        [(example([CELL]), predicted(found))], np.array([0]), 1, ["Mitotic Cell"]
    )
    assert name == "Mitotic Cell"


def test_rates_at_a_threshold_by_hand() -> None:
    truth = example([CELL, (50, 0, 60, 10, "Mitotic cell")])
    found = predicted(
        [
            (0, 0, 10, 10, "Mitotic cell", 0.5),
            (80, 0, 90, 10, "Mitotic cell", 0.6),
            (50, 0, 60, 10, "Mitotic cell", 0.2),
        ]
    )
    matched = match_classes([(truth, found)], np.array([0]), 1, ["Mitotic cell"])["Mitotic cell"]
    assert mask_predicted(matched, 0.5).tolist() == [True, True, False]
    rates = compute_rates(matched, 0.5, np.array([[1.0]]))
    assert {name: values.tolist() for name, (values, _) in rates.items()} == {
        "precision": [1 / 2], "recall": [1 / 2], "f1": [1 / 2],
    }  # fmt: skip
    assert {name: groups.tolist() for name, (_, groups) in rates.items()} == {
        "precision": [2], "recall": [2], "f1": [2],
    }  # fmt: skip


@laws
@given(seed=seeds)
def test_counts_add_up_to_the_figures(seed: int) -> None:
    truth, predictions = random_case(seed)
    kept = [(t, p) for t, p in zip(truth, predictions, strict=True) if t.boxes is not None]
    truth, predictions = [t for t, _ in kept], [p for _, p in kept]
    counts = count_matches(truth, predictions, threshold=0.25, headline=("Mitotic cell",))
    right, wrong, missed = (
        int(boxes.sum()) for boxes in (counts.right, counts.wrong, counts.missed)
    )
    assert counts.right.shape == (len(truth), 1)
    figures = judge(truth, predictions).classes["Mitotic cell"]
    assert (right + missed, right + wrong) == (figures.truths, figures.predicted)
    if right + missed:
        assert figures.f1.value == pytest.approx(2 * right / (2 * right + wrong + missed))


def test_resampled_f1_is_that_of_the_images_repeated() -> None:
    right, wrong, missed = (np.array(rows)[:, None] for rows in ([1, 2, 0], [1, 0, 1], [0, 1, 2]))
    counts = MatchCounts(("Mitotic cell",), right, wrong, missed)
    (value,) = compute_class_f1(counts, np.array([[2.0, 0, 1]]))[0]
    assert value == pytest.approx(2 * 2 / (2 * 2 + 3 + 2))
    assert counts.select([2]).missed.tolist() == [[2]]
