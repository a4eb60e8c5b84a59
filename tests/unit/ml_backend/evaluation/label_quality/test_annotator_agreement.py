"""Krippendorff's alpha of names: his own example, the formula written out, and laws."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_backend.evaluation.label_quality.annotator_agreement import (
    compute_alpha,
    evaluate_agreement,
)

RATINGS = st.lists(
    st.dictionaries(st.sampled_from("abc"), st.sampled_from("xyz"), max_size=3), max_size=12
)


def alpha_by_pairs(ratings: list[dict[str, str]]) -> float | None:
    """1 - D_o / D_e, by going through all ordered pairs of judgements."""
    units = [list(rating.values()) for rating in ratings if len(rating) > 1]
    values = [value for unit in units for value in unit]
    if len(set(values)) < 2:
        return None
    observed = sum(
        (a != b) / (len(unit) - 1) for unit in units for a, b in permutations(unit, 2)
    ) / len(values)
    expected = sum(a != b for a, b in permutations(values, 2)) / (len(values) * (len(values) - 1))
    return 1 - observed / expected


@settings(deadline=None, max_examples=40)  # a thousand resamples each
@given(RATINGS)
def test_alpha_is_that_of_the_pairs(ratings: list[dict[str, str]]) -> None:
    found = evaluate_agreement(ratings)
    if found is None:
        assert all(len(rating) < 2 for rating in ratings)
        return
    expected = alpha_by_pairs(ratings)
    assert found.alpha.value == (None if expected is None else pytest.approx(expected, abs=1e-9))
    for name, figure in found.classes.items():
        asked = [{who: str(value == name) for who, value in r.items()} for r in ratings]
        expected = alpha_by_pairs(asked)
        assert figure.value == (None if expected is None else pytest.approx(expected, abs=1e-9))
    if len({who for rating in ratings if len(rating) > 1 for who in rating}) == 2:
        # Of two annotators each agrees with the others as both do.
        assert {figure.value for figure in found.annotators.values()} == {found.alpha.value}


def test_the_published_example() -> None:
    """Krippendorff 2011, Computing Krippendorff's Alpha-Reliability, section C: 0.743."""
    # Twelve units of four observers.
    rows = ("123321412...", "1233224125.3", ".3332342251.", "12332441251.")
    ratings = [
        {str(who): row[unit] for who, row in enumerate(rows) if row[unit] != "."}
        for unit in range(12)
    ]
    found = evaluate_agreement(ratings)
    assert found is not None and found.alpha.value == pytest.approx(0.743, abs=5e-4)
    assert found.units == 11  # the last one has a single judgement


def test_one_who_contradicts_the_others_stands_out() -> None:
    rng = np.random.default_rng(0)
    truth = rng.choice(["x", "y"], 40)
    other = {"x": "y", "y": "x"}
    ratings = [{"a": t, "b": t, "c": t if n % 4 else other[t]} for n, t in enumerate(truth)]
    found = evaluate_agreement(ratings)
    assert found is not None and found.judged == {"a": 40, "b": 40, "c": 40}
    values = {who: figure.value for who, figure in found.annotators.items()}
    assert values["c"] is not None and values["a"] is not None
    assert values["c"] < values["a"] == values["b"]
    interval = found.alpha.interval
    assert interval is not None and interval[0] < (found.alpha.value or 0) < interval[1]


def test_without_two_names_there_is_nothing_to_agree_on() -> None:
    found = evaluate_agreement([{"a": "x", "b": "x"}] * 20)
    assert found is not None and found.alpha.value is None and found.to_json()["alpha"] is None
    assert compute_alpha(np.array([[1, 0], [0, 1]])).value is None
