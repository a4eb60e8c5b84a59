"""Balanced accuracy, against the plain loop."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.learners.classifier.pupil import measure_balance
from ml_backend.learners.classifier.train_loop import find_temperature


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=30))
def test_every_class_counts_alike(pairs: list[tuple[int, int]]) -> None:
    scores = torch.eye(3)[[called for _, called in pairs]]
    wanted = torch.eye(3)[[true for true, _ in pairs]]
    recalls = [
        np.mean([called == true for true, called in pairs if true == name])
        for name in {true for true, _ in pairs}
    ]
    assert measure_balance(scores, wanted) == pytest.approx(np.mean(recalls))


def test_the_temperature_undoes_a_known_one() -> None:
    rng = torch.Generator().manual_seed(0)
    honest = torch.randn(4000, 3, generator=rng) * 2
    truth = torch.multinomial(honest.softmax(1), 1, generator=rng)[:, 0]
    wanted = torch.eye(3)[truth]
    assert find_temperature(honest * 2.5, wanted, False) == pytest.approx(2.5, rel=0.1)
