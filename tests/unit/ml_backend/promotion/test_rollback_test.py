"""A promotion on trial: edits that rise roll it back, noise hardly ever does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import permutation_test

from ml_backend.dataset.corrections import Correction, Edit
from ml_backend.promotion import rollback_test
from ml_backend.registry.champions import ChampionChange

PROMOTION = ChampionChange("v2", "v1", "promotion", 1.0, "cytoloop", "better")


def corrections(version: str, counts: list[int], first: int) -> list[Correction]:
    kept = Edit("kept", "Mitotic cell", 1.0)
    return [
        Correction(first + i, first + i, version, 1.0, (kept, *[Edit("added", "Other")] * count))
        for i, count in enumerate(counts)
    ]


def verdict(before: list[int], after: list[int]) -> rollback_test.Verdict | None:
    made = [*corrections("v1", before, 1), *corrections("v2", after, 1000)]
    return rollback_test.judge_promotion(PROMOTION, reversed(made))


def test_a_clear_rise_is_worse_and_says_by_how_much() -> None:
    found = verdict([1, 2, 0, 1] * 5, [4, 3, 5, 4] * 5)
    assert found is not None and found.worse
    assert (
        "4.00 edits a task in the first 20 tasks of v2, 1.00 in the last 20 of v1" in found.reason
    )


def test_the_same_or_fewer_edits_are_not() -> None:
    for after in ([1, 2, 0, 1] * 5, [0] * 20, [1, 2, 1, 1] * 5):
        found = verdict([1, 2, 0, 1] * 5, after)
        assert found is not None and not found.worse


def test_too_few_tasks_are_no_verdict() -> None:
    assert verdict([1] * 30, [9] * 19) is None
    assert verdict([1] * 4, [9] * 30) is None


def test_what_comes_after_the_first_tasks_changes_nothing() -> None:
    assert verdict([1] * 20, [0] * 20 + [9] * 30) == verdict([1] * 20, [0] * 20)


def test_several_annotators_of_a_task_are_one_task() -> None:
    twice = [*corrections("v2", [8] * 10, 1000), *corrections("v2", [0] * 10, 1000)]
    twice = [Correction(c.task, i, c.version, 1.0, c.edits) for i, c in enumerate(twice, 1000)]
    assert (
        rollback_test.judge_promotion(PROMOTION, [*corrections("v1", [1] * 20, 1), *twice]) is None
    )


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.integers(0, 6), min_size=5, max_size=30),
    st.lists(st.integers(0, 8), min_size=20, max_size=20),
)
def test_the_chance_is_that_of_a_permutation_test(before: list[int], after: list[int]) -> None:
    expected = permutation_test(
        (after, before),
        lambda a, b, axis: np.mean(a, axis=axis) - np.mean(b, axis=axis),
        alternative="greater",
        n_resamples=4000,
        vectorized=True,
        rng=np.random.default_rng(1),
    ).pvalue
    assert rollback_test.compute_p_value(before, after) == pytest.approx(expected, abs=0.04)
    assert rollback_test.compute_p_value(before, after) == rollback_test.compute_p_value(
        before, after
    )


def test_noise_alone_rarely_rolls_back() -> None:
    rng = np.random.default_rng(0)
    worse = 0
    for _ in range(200):
        counts = rng.poisson(rng.gamma(1.0, 2.0, 60)).tolist()
        found = verdict(counts[:40], counts[40:])
        worse += found is not None and found.worse
    assert worse <= 10


def change(
    version: str, previous: str, kind: Any = "promotion", by: str = "cytoloop"
) -> ChampionChange:
    return ChampionChange(version, previous, kind, 1.0, by, "")


def test_what_is_watched() -> None:
    first, second = change("v1", ""), change("v2", "v1")
    assert (
        rollback_test.find_promotion_on_trial([]) is None
        and rollback_test.find_promotion_on_trial([first]) is None
    )
    assert rollback_test.find_promotion_on_trial([first, second]) == second
    by_hand = change("v1", "v2", "rollback", "ana")
    assert rollback_test.find_promotion_on_trial([first, second, by_hand]) is None
    again = change("v2", "v1", by="ana")
    assert rollback_test.find_promotion_on_trial([first, second, by_hand, again]) == again
    # What was rolled back by itself and then wanted all the same is left in peace.
    by_itself = change("v1", "v2", "rollback")
    assert rollback_test.find_promotion_on_trial([first, second, by_itself, again]) is None
    assert rollback_test.find_rolled_back([first, second, by_itself]) == {"v2"}
    assert rollback_test.find_rolled_back([first, second, by_hand]) == set()
