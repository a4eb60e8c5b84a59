"""The strategies that draw by chance: what share of a batch is what."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

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
    queues = [[Candidate(f"{c.key}, {n}", c.boxes) for c in QUEUE] for n in range(40)]
    chosen = [c for queue in queues for c in choose(score_foreground, queue, 30)]
    empty, metaphase = (count(chosen, word) / 40 for word in ("empty", "metaphase"))
    # A third of everything, of which nine of ten are empty: 9 of 30, and among what shows
    # something all are alike, four of five are metaphases. Four standard errors either way.
    assert abs(empty - 9) < 1.8 and abs(metaphase - 0.8 * 21) < 2.2
    # When all of these are reviewed, the others follow by chance.
    assert count(choose(score_foreground, QUEUE, 200), "empty") >= 100


@given(share=st.floats(0.01, 1), cut=st.integers(0, 1000))
def test_two_of_three_show_something_in_a_queue_that_grows(share: float, cut: int) -> None:
    """A score needs no other candidate: a part that comes later finds its places among the rest."""
    context = replace(CONTEXT, foreground_share=share)
    whole = score_foreground(QUEUE, context)
    parts = [score_foreground(part, context) for part in (QUEUE[:cut], QUEUE[cut:])]
    assert np.concatenate(parts).tolist() == whole.tolist()
    # A greater share of the queue puts what shows something later, and nothing else elsewhere.
    least = score_foreground(QUEUE, replace(CONTEXT, foreground_share=0.01))
    assert (least <= whole).all() and (least == whole)[:900].all()


def test_what_a_version_is_not_sure_of_is_no_foreground() -> None:
    """A version that does not know the images shows boxes on what holds no cell."""
    unsure = [make_candidate(f"unsure {n}", Metaphase=0.45) for n in range(100)]
    others = [make_candidate(f"other {n}") for n in range(900)]
    chosen = choose(score_foreground, unsure + others, 200, Context(0.25))
    assert count(chosen, "unsure") < 40  # 20 by chance, 4 standard errors


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
