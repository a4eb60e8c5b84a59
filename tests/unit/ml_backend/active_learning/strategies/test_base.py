"""What a strategy gives is looked at before it reaches a queue."""

from __future__ import annotations

import numpy as np
import pytest

from ml_backend.active_learning.strategies.base import Candidate, Context, Strategy
from ml_backend.imaging.boxes import Boxes

TWO = [Candidate("a.png", Boxes()), Candidate("b.png", Boxes())]


@pytest.mark.parametrize("scores", [[0.5], [0.5, 0.5, 0.5], [0.5, np.nan], [-0.1, 0], [0, 1.1]])
def test_scores_that_no_queue_can_use_are_told(scores: list[float]) -> None:
    faulty = Strategy("faulty", lambda candidates, context: np.array(scores))
    with pytest.raises(ValueError, match=r"faulty did not score each of 2 candidates in 0\.\.1"):
        faulty.score(TWO, Context(0.3))


def test_scores_of_the_whole_range_are_as_the_function_gave_them() -> None:
    strategy = Strategy("ends", lambda candidates, context: np.array([0.0, 1.0]))
    assert strategy.score(TWO, Context(0.3)).tolist() == [0.0, 1.0]
