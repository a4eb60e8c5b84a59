"""Where the marks of a chart stand: numbers → places in an SVG picture. Pure functions.

The templates draw them, in the colours of the page, so that a chart follows light and dark.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# The inner frame of a chart in the SVG's own units: left, top, right, bottom.
LEFT, TOP, RIGHT, BOTTOM = 42.0, 12.0, 628.0, 228.0
WIDTH, HEIGHT = 640, 262
# Below a curve of more versions, not every one is named.
_MOST_NAMES = 12


@dataclass(frozen=True)
class Figure:
    """A figure of a version.

    Attributes:
        name: Of the version.
        value: 0..1; None where it is not known.
        interval: Its 95 % interval; None where it is not known.
        before: The champion's figure on the same tasks, 0..1, where there was one.
        promoted: The version was, or is, a champion.
    """

    name: str
    value: float | None
    interval: tuple[float, float] | None = None
    before: float | None = None
    promoted: bool = False


@dataclass(frozen=True)
class Mark:
    """A figure at its place.

    Attributes:
        figure: The figure.
        x: Its place.
        y: Its place; larger is lower.
        low: Where its interval ends below; the same as y without an interval.
        high: Where it ends above.
        before: Where the champion's figure stands; None without one.
        short: The name below it; "" where there is no room.
    """

    figure: Figure
    x: float
    y: float
    low: float
    high: float
    before: float | None
    short: str


def scale_y(share: float) -> float:
    """Return the height at which a share (0..1) stands."""
    return round(BOTTOM - (BOTTOM - TOP) * min(max(share, 0.0), 1.0), 1)


def scale_x(share: float) -> float:
    """Return how far from the left a share (0..1) of the width stands."""
    return round(LEFT + (RIGHT - LEFT) * min(max(share, 0.0), 1.0), 1)


def place_curve(figures: Sequence[Figure]) -> list[Mark]:
    """Place the figures of versions side by side, those that are known.

    Args:
        figures: Oldest first.
    """
    known = [figure for figure in figures if figure.value is not None]
    every = -(-len(known) // _MOST_NAMES) if known else 1
    marks = []
    for number, figure in enumerate(known):
        assert figure.value is not None
        low, high = figure.interval or (figure.value, figure.value)
        named = number % every == 0 or number == len(known) - 1
        marks.append(
            Mark(
                figure,
                scale_x((number + 0.5) / len(known)),
                scale_y(figure.value),
                scale_y(low),
                scale_y(high),
                None if figure.before is None else scale_y(figure.before),
                shorten(figure.name) if named else "",
            )
        )
    return marks


def shorten(name: str) -> str:
    """Shorten a version's name to the part that tells it from its siblings: 3-v12-0a1b2c3d, v12."""
    parts = name.split("-")
    return parts[1] if len(parts) > 2 else name


@dataclass(frozen=True)
class BinMark:
    """A range of confidences in the picture of a calibration.

    Attributes:
        x: Where its mean confidence stands.
        y: Where the share that is right stands.
        radius: Larger for more boxes.
        text: What it says, in words.
    """

    x: float
    y: float
    radius: float
    text: str


def place_calibration(bins: Sequence[dict[str, float]]) -> list[BinMark]:
    """Place the ranges of a calibration.

    Args:
        bins: Those of `calibration.Bin`, as plain values.
    """
    most = max((row["boxes"] for row in bins), default=1)
    return [
        BinMark(
            scale_x(row["confidence"]),
            scale_y(row["right"]),
            round(3 + 7 * (row["boxes"] / most) ** 0.5, 1),
            f"{row['boxes']:.0f} boxes with confidence {row['low']:.1f} to {row['high']:.1f}: "
            f"{100 * row['right']:.0f} % are right",
        )
        for row in bins
    ]


def rank_heat(count: int, total: int) -> int:
    """Rank a cell of a matrix by its share of the row: 0 (none) to 4."""
    if not count or not total:
        return 0
    return min(4, 1 + int(4 * count / total))
