"""Numbers from outside: of tasks, annotations, predictions, files, cards and requests.

JSON and text hold what no calculation survives: NaN, infinities, and integers of 400 digits, at
which `float` raises OverflowError. Whatever comes from outside is parsed here, so that a bad
number harms only what it belongs to.
"""

from __future__ import annotations

from numbers import Real
from typing import Any

# No length in px or µm, no id, no time and no score that we read is greater. Squares of it, and
# sums of many such squares, are finite in float32 too, which boxes are kept in.
GREATEST = 1e12

# px; whole slides have some 200,000, and mosaics of microscopes less than a million.
LONGEST_SIDE = 10_000_000

# A number of more characters is none that a person or a program meant.
_LONGEST = 64


def parse_number(value: Any, low: float = -GREATEST, high: float = GREATEST) -> float | None:
    """Parse a number.

    Args:
        value: Anything; a table may have turned the number into text. Truth values are none.
        low: The least that it may be.
        high: The greatest that it may be.

    Returns:
        None where the value is not a finite number in this range.
    """
    if isinstance(value, bool) or not isinstance(value, Real | str):
        return None
    if isinstance(value, str) and len(value) > _LONGEST:
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if low <= number <= high else None


def parse_whole_number(value: Any, low: int = 0, high: int = int(GREATEST)) -> int | None:
    """Parse a number without a fraction, see `parse_number`."""
    number = parse_number(value, low, high)
    return int(number) if number is not None and number.is_integer() else None


def parse_size(width: Any, height: Any) -> tuple[int, int] | None:
    """Parse the width and the height of an image, px; None where one is no length of a side."""
    sides = parse_number(width, 1, LONGEST_SIDE), parse_number(height, 1, LONGEST_SIDE)
    return None if sides[0] is None or sides[1] is None else (int(sides[0]), int(sides[1]))
