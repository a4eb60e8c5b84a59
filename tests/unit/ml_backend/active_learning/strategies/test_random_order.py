"""A random order is uniform, and the same whenever it is asked for."""

from __future__ import annotations

import numpy as np
from scipy import stats

from ml_backend.active_learning.strategies.base import Candidate, Context
from ml_backend.active_learning.strategies.random_order import score_randomly
from ml_backend.imaging.boxes import Boxes

DOUBT = Boxes(np.array([[0, 0, 9, 9]]), np.array(["Cell"]), np.array([0.3]))


def test_scores_are_uniform() -> None:
    candidates = [Candidate(f"{number}.png", Boxes()) for number in range(2000)]
    scores = score_randomly(candidates, Context(0.3))
    assert stats.kstest(scores, "uniform").pvalue > 0.01


def test_only_the_key_decides() -> None:
    keys = [f"{number}.png" for number in range(50)]
    empty = score_randomly([Candidate(key, Boxes()) for key in keys], Context(0.3))
    doubtful = score_randomly([Candidate(key, DOUBT) for key in reversed(keys)], Context(0.9))
    assert empty.tolist() == doubtful[::-1].tolist()
    assert len(set(empty.tolist())) == 50
