"""Blind tasks beside those that were shown with boxes: said where the exam praises its writer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ml_backend.dataset.snapshot import Item
from ml_backend.evaluation.class_matches import MatchCounts
from ml_backend.promotion.blind_review import (
    FEWEST_TASKS,
    REVIEW_KINDS,
    FiguresByReview,
    find_warnings,
    index_by_review,
)
from ml_backend.promotion.decision import JudgedVersion
from tests.unit.ml_backend.evaluation.test_metrics import example, judge, predicted

ITEM = Item(1, 1, "", "1.png", "hash", "g", "holdout", None, "", ())


def side(right: list[int], wrong: list[int], missed: list[int]) -> JudgedVersion:
    rows = (np.array(column)[:, None] for column in (right, wrong, missed))
    return JudgedVersion("1-v2-x", MatchCounts(("Mitotic cell",), *rows))


def test_held_out_tasks_alone_are_blind_or_shown() -> None:
    items = [
        replace(ITEM, split="train"),
        ITEM,
        replace(ITEM, blind=True),
        replace(ITEM, blind=True, split="buffer"),
    ]
    assert index_by_review(items) == {"held_out": [1, 2], "blind": [2], "pre_annotated": [1]}
    assert index_by_review(items[:1]) == {}


def test_praise_of_oneself_is_said() -> None:
    # Of two cells an image, all are found where boxes were shown, half where none were.
    at = {"blind": [*range(12)], "pre_annotated": [*range(12, 42)], "held_out": [*range(42)]}
    praised = side([1] * 12 + [2] * 30, [0] * 42, [1] * 12 + [0] * 30)
    (warning,) = find_warnings([praised], at)
    assert warning.startswith("watch: F1 of 1-v2-x is 1.000 on the 30 held-out tasks")
    assert "0.667 on the 12 blind ones" in warning
    honest = side([1] * 42, [0] * 42, [1] * 42)
    assert find_warnings([honest, praised, honest], at) == [warning]
    # The other way round nobody was led.
    assert find_warnings([side([2] * 12 + [1] * 30, [0] * 42, [0] * 12 + [1] * 30)], at) == []


def test_little_data_and_small_differences_are_no_warning() -> None:
    few = FEWEST_TASKS - 1
    at = {"blind": [*range(few)], "pre_annotated": [*range(few, 40)]}
    assert find_warnings([side([1] * few + [2] * 36, [0] * 40, [1] * few + [0] * 36)], at) == []
    # As many of the blind cells are missed as may well be luck.
    at = {"blind": [*range(6)], "pre_annotated": [*range(6, 20)]}
    luck = side([0, 2, 2, 2, 2, 2] + [2] * 14, [0] * 20, [2, 0, 0, 0, 0, 0] + [0] * 14)
    assert find_warnings([luck], at) == []
    nothing = side([0] * 20, [0] * 20, [0] * 20)  # no cells at all
    assert find_warnings([nothing], at) == []


def test_noise_alone_is_seldom_called_praise() -> None:
    random = np.random.default_rng(1)
    at = {"blind": [*range(10)], "pre_annotated": [*range(10, 40)]}
    called = 0
    for _ in range(200):
        right = random.binomial(2, 0.8, 40)
        called += bool(find_warnings([side([*right], [0] * 40, [*(2 - right)])], at))
    assert called <= 12


def test_figures_apart_as_json() -> None:
    truth = [example([(0, 0, 10, 10, "Mitotic cell")])] * 2
    good, none = predicted([(0, 0, 10, 10, "Mitotic cell", 0.9)]), predicted([])
    apart = FiguresByReview(
        {"held_out": 2, "blind": 1},
        {"held_out": judge(truth, [good, none]), "blind": judge(truth[1:], [none])},
        {"held_out": judge(truth, [good, good])},
    )
    plain = apart.to_json()
    assert list(plain) == [kind for kind in REVIEW_KINDS if kind in plain] == ["held_out", "blind"]
    assert plain["held_out"]["f1"] == pytest.approx(2 / 3)
    assert (plain["held_out"]["champion_f1"], plain["blind"]["champion_f1"]) == (1.0, None)
    assert plain["blind"] == {
        "tasks": 1, "groups": 1, "f1": 0.0, "f1_interval": None, "ap50": 0.0,
        "ap50_interval": None, "image_sensitivity": 0.0, "champion_f1": None,
    }  # fmt: skip
