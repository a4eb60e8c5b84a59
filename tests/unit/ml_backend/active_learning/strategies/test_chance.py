"""The strategies that draw by chance: what share of a batch is what."""

from __future__ import annotations

import numpy as np

from ml_backend.active_learning.strategies.base import Candidate, Context
from ml_backend.active_learning.strategies.clasp import score_clasp
from ml_backend.active_learning.strategies.foreground_random import score_foreground
from ml_backend.active_learning.strategies.stratified_random import score_stratified
from ml_backend.imaging.boxes import Boxes

CONTEXT = Context(0.5)


def make_candidate(key: str, **confidence: float) -> Candidate:
    """A candidate with a box of each class."""
    box = np.tile([0, 0, 9, 9], (len(confidence), 1))
    return Candidate(key, Boxes(box, list(confidence), list(confidence.values())))


def choose(score, candidates: list[Candidate], number: int, context: Context = CONTEXT):  # type: ignore[no-untyped-def]
    return [candidates[place] for place in np.argsort(score(candidates, context))[:number]]


# 900 empty tiles, 80 with a metaphase, 20 with an anaphase that is only guessed.
QUEUE = [
    *(make_candidate(f"empty {n}") for n in range(900)),
    *(make_candidate(f"metaphase {n}", Metaphase=0.8) for n in range(80)),
    *(make_candidate(f"anaphase {n}", Anaphase=0.51) for n in range(20)),
]


def count(chosen: list[Candidate], word: str) -> int:
    return sum(candidate.key.startswith(word) for candidate in chosen)


def test_two_of_three_show_something() -> None:
    chosen = choose(score_foreground, QUEUE, 30)
    assert 10 - 3 <= count(chosen, "empty") <= 10
    # Among what shows something all are alike: four of five are metaphases.
    assert 12 <= count(chosen, "metaphase") <= 20
    # When all of these are reviewed, the others follow by chance.
    assert count(choose(score_foreground, QUEUE, 200), "empty") >= 100


def test_strata_have_equal_shares() -> None:
    chosen = choose(score_stratified, QUEUE, 30)
    assert [count(chosen, word) for word in ("empty", "metaphase", "anaphase")] == [10, 10, 10]


def test_a_box_below_the_threshold_is_not_seen() -> None:
    faint = [make_candidate(f"faint {n}", Metaphase=0.4) for n in range(20)]
    sure = [make_candidate(f"sure {n}", Metaphase=0.6) for n in range(20)]
    assert count(choose(score_stratified, faint + sure, 10), "sure") == 5
    assert count(choose(score_foreground, faint + sure, 6), "sure") >= 4


def test_clasp_divides_by_class_and_comes_to_the_empty_last() -> None:
    chosen = choose(score_clasp, QUEUE, 30)
    assert count(chosen, "empty") == 0
    assert count(chosen, "anaphase") >= 10 and count(chosen, "metaphase") >= 10
    assert count(choose(score_clasp, QUEUE, 100), "empty") == 0


def test_clasp_follows_doubt_more_as_rounds_go() -> None:
    # u = p·H(p) has its maximum near 0.70: the surest candidates are worth least.
    queue = [make_candidate(f"{n:03}", Metaphase=0.7 + 0.29 * n / 199) for n in range(200)]
    mean = [
        np.mean([int(c.key) for c in choose(score_clasp, queue, 30, Context(0.5, turn))])
        for turn in (0, 10)
    ]
    assert mean[1] < 30 < mean[0]


def test_other_keys_give_another_order() -> None:
    others = [Candidate(f"other {c.key}", c.boxes) for c in QUEUE]
    for score in (score_foreground, score_stratified, score_clasp):
        assert score(QUEUE, CONTEXT).tolist() != score(others, CONTEXT).tolist()
