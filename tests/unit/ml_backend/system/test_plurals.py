"""Counts with their nouns."""

from __future__ import annotations

import pytest

from ml_backend.system.plurals import format_count


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [(0, "box", "0 boxes"), (1, "box", "1 box"), (2, "box", "2 boxes"), (2, "task", "2 tasks")],
)
def test_the_noun_agrees_with_its_number(number: int, noun: str, text: str) -> None:
    assert format_count(number, noun) == text
