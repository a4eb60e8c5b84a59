"""Drawing the next tiles of a project by lot. Pure functions.

Tiles are drawn a few ahead of the people who review them, so that each draw knows what was counted
before it. When another version expects other cells, the tiles that nobody can have looked at are
put back and drawn anew.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from ml_backend.counting.sample import Claim, DrawnTile
from ml_backend.estimation.sampling import draw_tiles, expect_counts, weigh_tiles
from ml_backend.imaging.boxes import Boxes

# So many drawn tiles wait for review, and more are drawn when only so many are left.
AHEAD, FEW_AHEAD = 60, 30
# Somebody may have so many of the next tiles open, or have closed them again: they stay drawn.
PERHAPS_OPEN = 10


def claim_cells(found: Boxes, headline: Sequence[str]) -> float:
    """Claim how many cells a tile shows: the sum of the confidences of what was found.

    Args:
        found: From a confidence far below the threshold on, so that doubt counts too.
        headline: The classes that count.
    """
    counted = np.isin(found.label, list(headline))
    return float(found.confidence[counted].astype(np.float64).sum())


def compute_score(place: int) -> float:
    """Compute the score of a drawn tile, which puts it at its place in Label Studio's queue.

    Args:
        place: From 1.

    Returns:
        0..1, rising with the place; tiles that were not drawn have 1.
    """
    return place / (place + 1000)


def count_ahead(drawn: Sequence[DrawnTile], touched: Collection[int]) -> int:
    """Count the drawn tiles that wait for review.

    Args:
        drawn: In their order.
        touched: Tasks that somebody annotated, skipped or has a draft of.
    """
    return sum(tile.task not in touched for tile in drawn)


def count_kept(drawn: Sequence[DrawnTile], touched: Collection[int], version: str) -> int:
    """Count the draws, from the first, that stay drawn.

    All do while the version stays the same. With another one those go back that lie behind the
    last touched tile and the few that somebody may have seen: had anybody looked at a tile
    before it is put back, the drawing would not be by chance alone.

    Args:
        drawn: In their order.
        touched: Tasks that somebody annotated, skipped or has a draft of.
        version: Of the present claims.
    """
    if all(tile.version in ("", version) for tile in drawn):
        return len(drawn)
    last = max((n for n, tile in enumerate(drawn, start=1) if tile.task in touched), default=0)
    kept, waiting = last, 0
    while kept < len(drawn) and (waiting < PERHAPS_OPEN or drawn[kept].version == version):
        kept, waiting = kept + 1, waiting + 1
    return kept


def draw_further(
    generator: np.random.Generator,
    drawn: Sequence[DrawnTile],
    claims: Mapping[int, Claim],
    counts: Mapping[int, float],
    number: int,
) -> list[DrawnTile]:
    """Draw further tiles, more often where cells are expected.

    At the first drawing, the tiles that were reviewed already come before all others, with
    probability 1: what is on them is known, and they stand for no other tile.

    Args:
        generator: The source of chance.
        drawn: What was drawn before, in its order.
        claims: By task, of all tiles that are there.
        counts: By task, the cells that people counted, of every tile that was reviewed.
        number: How many are to be drawn, at most.

    Returns:
        Those that follow.
    """
    before = {tile.task for tile in drawn}
    known: list[DrawnTile] = []
    if not drawn:
        reviewed = sorted(counts.keys() & claims.keys())
        known = [
            DrawnTile(task, 1.0, len(reviewed) - place, claims[task].cells, 0.0, 0.0, "")
            for place, task in enumerate(reviewed)
        ]
        before = set(reviewed)
    tasks = sorted(claims.keys() - before)
    if not tasks:
        return known
    claimed = np.array([claims[task].cells for task in tasks])
    learned = [tile for tile in (*drawn, *known) if tile.task in counts]
    expected = expect_counts(
        claimed,
        np.array([tile.claimed for tile in learned]),
        np.array([counts[tile.task] for tile in learned]),
    )
    draws = draw_tiles(
        generator, weigh_tiles(expected), np.ones(len(tasks), bool), number, expected=expected
    )
    return known + [
        DrawnTile(
            tasks[index],
            float(probability),
            len(tasks) - place,
            float(claimed[index]),
            float(own),
            float(left),
            claims[tasks[index]].version,
        )
        for place, (index, probability, own, left) in enumerate(
            zip(draws.index, draws.probability, draws.expected, draws.expected_left, strict=True)
        )
    ]
