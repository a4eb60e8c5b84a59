"""Counts with their nouns, for messages."""

from __future__ import annotations


def format_count(number: int, noun: str) -> str:
    """Write a number with its noun: 1 box, 2 boxes.

    Args:
        number: How many there are.
        noun: In the singular; its plural must be regular.
    """
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun}{'es' if noun.endswith('x') else 's'}"
