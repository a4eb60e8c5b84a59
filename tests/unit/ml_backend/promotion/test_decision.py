"""Only what is better is promoted, and not by luck."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_backend.dataset.snapshot import Item
from ml_backend.dataset.split import Place
from ml_backend.evaluation.class_matches import MatchCounts
from ml_backend.promotion.decision import RULE, JudgedVersion, decide_promotion, select_unseen


def item(task: int, group: str, image_hash: str) -> Item:
    return Item(task, task, "", "", image_hash, group, "holdout", 0.2, "", ())


def side(version: str, *classes: tuple[list[int], list[int], list[int]]) -> JudgedVersion:
    """From (right, wrong, missed) by task, for each class."""
    names = tuple(f"class {number}" for number in range(len(classes)))
    right, wrong, missed = (np.array([rows[i] for rows in classes]).T for i in range(3))
    return JudgedVersion(version, MatchCounts(names, right, wrong, missed))


def even(version: str, tasks: int, found: int, of: int = 10) -> JudgedVersion:
    """Every task alike: of so many objects so many found, and as many wrong boxes as misses."""
    return side(version, ([found] * tasks, [of - found] * tasks, [of - found] * tasks))


def files(tasks: int) -> list[str]:
    return [f"file:{number}" for number in range(tasks)]


@settings(deadline=None)
@given(st.integers(0, 10), st.integers(0, 10), st.integers(1, 30))
def test_without_luck_the_better_one_wins_and_a_tie_changes_nothing(
    champion: int, candidate: int, tasks: int
) -> None:
    decision = decide_promotion(
        even("a", tasks, champion), even("b", tasks, candidate), files(tasks)
    )
    assert decision.promoted == (candidate > champion)
    assert decision.difference == pytest.approx((candidate - champion) / 10)
    assert f"{tasks} corrected tasks" in " ".join(decision.reasons)


def test_better_in_one_task_of_many_is_luck() -> None:
    champion = side("a", ([1] * 20, [0] * 20, [0] * 19 + [1]))
    candidate = side("b", ([1] * 19 + [2], [0] * 20, [0] * 20))
    decision = decide_promotion(champion, candidate, files(20))
    assert not decision.promoted and decision.difference > 0
    assert decision.low is not None and decision.low <= RULE.margin
    assert "by luck" in decision.reasons[0] and "correct more" in decision.reasons[0]


def test_tasks_of_one_sample_are_one_piece_of_luck() -> None:
    """Better in two samples of six by much, worse in the others: each sample is drawn whole."""
    samples = [f"sample:{number // 5}" for number in range(30)]
    champion = even("a", 30, 5)
    found = [10 if number < 10 else 4 for number in range(30)]
    missed = [10 - right for right in found]
    candidate = side("b", (found, missed, missed))
    assert decide_promotion(champion, candidate, files(30)).promoted
    assert not decide_promotion(champion, candidate, samples).promoted


def test_a_class_may_fall_only_where_it_is_rare() -> None:
    def both(tasks: int, second: int) -> JudgedVersion:
        first = 5 if second == 8 else 9
        rows = [([n] * tasks, [10 - n] * tasks, [10 - n] * tasks) for n in (first, second)]
        return side(f"v{second}", *rows)

    many = decide_promotion(both(4, 8), both(4, 7), files(4))
    assert not many.promoted
    assert "not for every class" in many.reasons[0] and "'class 1' falls" in many.reasons[1]
    few = decide_promotion(both(2, 8), both(2, 7), files(2))
    assert few.promoted and "watch: F1 of 'class 1' falls" in few.reasons[1]


def test_the_first_version_must_find_something() -> None:
    assert decide_promotion(None, even("b", 5, 1), files(5)).promoted
    nothing = decide_promotion(None, even("b", 5, 0), files(5))
    assert not nothing.promoted and "finds nothing" in nothing.reasons[0]


def test_without_tasks_nothing_is_promoted_and_it_says_what_to_do() -> None:
    nothing = side("b", ([], [], []))
    decision = decide_promotion(nothing, nothing, [], left_out=3)
    assert not decision.promoted
    assert "correct some" in decision.reasons[0] and "3 corrected" in decision.reasons[1]


def test_an_undefined_figure_promotes_nothing() -> None:
    empty = side("a", ([0, 0], [0, 1], [0, 0]))
    decision = decide_promotion(empty, replace(empty, version="b"), files(2))
    assert not decision.promoted and "no headline object" in decision.reasons[0]


def test_little_data_is_provisional() -> None:
    assert decide_promotion(even("a", 99, 5), even("b", 99, 6), files(99)).provisional
    decision = decide_promotion(even("a", 100, 5), even("b", 100, 6), files(100))
    assert not decision.provisional
    assert decision.to_json()["reasons"] == list(decision.reasons)


def test_what_either_side_saw_does_not_count() -> None:
    items = [item(1, "sample:A", "h1"), item(2, "sample:B", "h2"), item(3, "file:c.png", "h3")]
    kept, left_out = select_unseen(items, ["h3"], ["A"])
    assert [item.task for item in kept] == [2] and left_out == 2


def test_a_tile_beside_a_seen_block_does_not_count() -> None:
    tiles = [
        replace(
            item(column, f"scan:S block 0/{column // 8}", str(column)), place=Place("S", 3, column)
        )
        for column in range(16)
    ]
    kept, _ = select_unseen(tiles, [], ["scan:S block 0/0"])
    assert [item.task for item in kept] == list(range(9, 16))


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    path = Path(__file__).parents[4] / "benchmarks" / "promotion_odds.py"
    spec = importlib.util.spec_from_file_location("promotion_odds", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("tasks", "points", "least", "most"),
    [(20, 10, 0.68, 0.9), (20, -5, 0.0, 0.12), (100, 10, 0.95, 1.0), (100, -5, 0.0, 0.03)],
)
def test_the_odds_are_those_of_the_docs(
    benchmark: ModuleType, tasks: int, points: int, least: float, most: float
) -> None:
    """With few draws; docs/promotion.md has the table. The naive rule would not pass."""
    rule, naive = benchmark.odds(benchmark.World(), tasks, points, 4000 // tasks)
    assert least <= rule <= most
    if (tasks, points) == (20, -5):
        assert naive > most


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_order_of_tasks_does_not_matter(seed: int) -> None:
    random = np.random.default_rng(seed)
    found = random.integers(0, 3, (2, 25))
    champion, candidate = (side(n, (f, 2 - f, 2 - f)) for n, f in zip("ab", found, strict=True))
    order = random.permutation(25)

    def shuffled(version: JudgedVersion) -> JudgedVersion:
        counts = version.counts
        rows = (rows[order] for rows in (counts.right, counts.wrong, counts.missed))
        return JudgedVersion(version.version, MatchCounts(counts.classes, *rows))

    groups = np.array(files(25))
    decision = decide_promotion(champion, candidate, list(groups))
    assert (
        decide_promotion(shuffled(champion), shuffled(candidate), list(groups[order])) == decision
    )
