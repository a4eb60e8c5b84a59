"""The answer of the lowest entropy counts: cases made by hand, and scipy as the oracle."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy

from tasks.stacks.surest_view import choose_surest, measure_entropy

SHARES = st.lists(st.floats(0, 1), min_size=1, max_size=6).filter(lambda values: sum(values) > 0.01)


@given(SHARES)
def test_entropy_is_shannons(values: list[float]) -> None:
    named = {str(number): value for number, value in enumerate(values)}
    assert measure_entropy(named) == pytest.approx(entropy(values, base=2), abs=1e-9)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        # The highest probability is not the lowest entropy: 0.6 against one other of 0.4 is
        # less sure than 0.58 would be of many, so what counts is the whole answer.
        ([{"a": 0.6, "b": 0.4}, {"a": 0.1, "b": 0.9}, {"a": 0.5, "b": 0.5}], 1),
        ([{"a": 0.7, "b": 0.1, "c": 0.1, "d": 0.1}, {"a": 0.65, "b": 0.35, "c": 0, "d": 0}], 1),
        ([{"a": 1.0, "b": 0.0}, {"a": 0.0, "b": 1.0}], 0),  # equally sure: the first
        ([{}, {"a": 0.5, "b": 0.5}], 1),  # a projection that is missing does not count
    ],
)
def test_the_surest_of_several(answers: list[dict[str, float]], expected: int) -> None:
    assert choose_surest(answers) == expected


def test_without_an_answer_there_is_none_to_choose() -> None:
    with pytest.raises(ValueError, match="no network gave an answer"):
        choose_surest([{}, {"a": 0.0}])
