"""Which tiles are reviewed next: drawn with known probabilities, more often where cells may be.

A round is one ranking of the tiles that are left, reviewed from its beginning. After it, or in
the middle of it, the ranking may be made again with new weights (the detector was retrained, or
`expect_counts` saw more counts): the probability of each draw depends only on what was known
before the draw, which is all that the estimate needs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# The share of the draws that ignores the weights: no tile may be out of reach.
UNIFORM_SHARE = 0.1
# Bands of tiles in `expect_counts`, and how many reviewed tiles the detector's claim is worth.
BANDS = 8
CLAIM_WORTH = 2.0
# The share of the expected cells that an estimate relies on before they are seen. With more of it
# the intervals are narrower and miss the truth more often: what is left of the spread is then all
# of the rare kind, cells that nobody expected.
RELIANCE = 0.4


@dataclass(frozen=True)
class Draws:
    """Tiles in the order in which they are to be reviewed.

    Attributes:
        index: (n,) int, places in the array of tiles, none twice.
        probability: (n,) each draw's own: that this tile, of those then left, was drawn.
        expected: (n,) cells that the estimate relies on for this tile, before it is seen.
        expected_left: (n,) the same for all tiles then left, this one included.
    """

    index: np.ndarray
    probability: np.ndarray
    expected: np.ndarray
    expected_left: np.ndarray


def mix_uniform(weight: np.ndarray, share: float = UNIFORM_SHARE) -> np.ndarray:
    """(1 - ε) g / Σg + ε / N: probabilities that follow the weights, but are nowhere 0.

    Source: Hesterberg 1995, Weighted average importance sampling and defensive mixture
    distributions.

    Args:
        weight: g (..., N) >= 0; all 0 means that nothing is known of any tile.
        share: ε, over 0 to 1.

    Returns:
        (..., N), of sum 1.

    Raises:
        ValueError: a weight is negative or not finite, or ε is not in (0, 1].
    """
    weight = np.asarray(weight, float)
    if not np.all(np.isfinite(weight) & (weight >= 0)):
        raise ValueError("the weight of a tile must be a finite number, 0 or more")
    if not 0 < share <= 1:
        raise ValueError(f"the uniform share must be over 0 and at most 1, not {share}")
    number = weight.shape[-1]
    total = weight.sum(axis=-1, keepdims=True)
    followed = np.where(total > 0, weight, 1) / np.where(total > 0, total, number)
    return (1 - share) * followed + share / number


def draw_tiles(
    generator: np.random.Generator,
    weight: np.ndarray,
    left: np.ndarray,
    size: int | None = None,
    share: float = UNIFORM_SHARE,
    expected: np.ndarray | None = None,
) -> Draws:
    """Rank the tiles that are left: one round of drawing without replacement.

    The first is drawn with the probabilities p of `mix_uniform` over the tiles left; each
    further one with p over what is left then, p_i / Σ p. Ranking by log p + Gumbel noise draws
    in just this way.
    Source: Kool, van Hoof and Welling 2019, Stochastic beams and where to find them.

    Args:
        generator: the source of chance.
        weight: (N,) >= 0, from `weigh_tiles` or any other guess of the counts.
        left: (N,) bool, the tiles not yet drawn in an earlier round.
        size: how many to draw; all that are left, where None or more than those.
        share: as in `mix_uniform`.
        expected: (N,) cells on each tile, from `expect_counts`, of which RELIANCE is kept with
            the draws; 0 where None.

    Raises:
        ValueError: as `mix_uniform`.
    """
    places = np.flatnonzero(left)
    if not len(places):
        return Draws(places, *np.zeros((3, 0)))
    chance = mix_uniform(np.asarray(weight)[places], share)
    order = np.argsort(-(np.log(chance) + generator.gumbel(size=len(places))))
    ranked = chance[order]
    # Summed from the end, so that the last tile's probability is 1 to the last digit.
    remaining = np.cumsum(ranked[::-1])[::-1]
    index = places[order]
    mean = np.zeros(len(index)) if expected is None else RELIANCE * np.asarray(expected)[index]
    mean_left = np.cumsum(mean[::-1])[::-1]
    return Draws(index[:size], (ranked / remaining)[:size], mean[:size], mean_left[:size])


def expect_counts(claimed: np.ndarray, claimed_then: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The cells to expect on each tile: the detector's claims, corrected by what people counted.

    The detector claims a mean for every tile; how far it can be believed shows on the reviewed
    ones. Tiles are put into BANDS by their claim, each band with about the same share of the
    draws. A band's mean count is estimated from its reviewed tiles and k more, invented ones: up
    to CLAIM_WORTH as the detector claims, the rest as in the whole scan; k is the variance within
    bands over that between bands beyond chance. So of a detector that knows nothing the same is
    expected everywhere, and one that misses cells is not trusted where it sees none.
    Source: DerSimonian and Laird 1986 (the variance between bands).

    Args:
        claimed: (N,) >= 0, the number of cells that the present version expects on each tile,
            for example the sum of the confidences of its boxes.
        claimed_then: (n,) the same for the reviewed tiles, from a version that had not been
            trained on them.
        counts: (n,) what people counted there.

    Returns:
        (N,) 0 or more.
    """
    claimed = np.asarray(claimed, float)
    counts = np.asarray(counts, float)
    # Half the claim, half the same for all: a first guess that costs little where it is wrong.
    first = (claimed + claimed.mean()) / 2
    edges = _band_edges(claimed)
    band = np.searchsorted(edges, claimed, side="right")
    then = np.searchsorted(edges, np.asarray(claimed_then, float), side="right")
    size = np.maximum(np.bincount(band, minlength=BANDS), 1)
    claim = np.bincount(band, first, minlength=BANDS) / size
    reviewed = np.bincount(then, minlength=BANDS)
    found = np.bincount(then, counts, minlength=BANDS)
    mean = claim
    if found.any():
        overall = counts.mean()
        invented = max(_shrinkage(then, counts), CLAIM_WORTH)
        if np.isinf(invented):
            mean = np.full(BANDS, overall)
        else:
            target = CLAIM_WORTH * claim + (invented - CLAIM_WORTH) * overall
            mean = (found + target) / (reviewed + invented)
    elif len(counts):
        mean = CLAIM_WORTH * claim / (reviewed + CLAIM_WORTH)
    return mean[band]


def weigh_tiles(expected: np.ndarray) -> np.ndarray:
    """Weights for the next round, from the cells that are expected.

    The best weight is sqrt(E f²), the root mean square count: for Poisson counts of mean μ,
    sqrt(μ² + μ). Whatever the weights, the estimate is unbiased: they change only its precision.
    Source: Perez, Maji and Sheldon 2024, DISCount (the proposal follows the detector's counts).

    Args:
        expected: (N,) from `expect_counts`.
    """
    return np.sqrt(np.square(expected) + expected)


def _band_edges(claimed: np.ndarray) -> np.ndarray:
    """Claims at which a new band begins; tiles of equal claim are in one band."""
    ranked = np.sort(claimed)
    drawn = np.cumsum(np.sqrt(ranked + ranked.mean()))
    if drawn[-1] <= 0:
        return np.full(BANDS - 1, np.inf)
    return ranked[np.searchsorted(drawn, drawn[-1] * np.arange(1, BANDS) / BANDS)]


def _shrinkage(band: np.ndarray, counts: np.ndarray) -> float:
    """Variance of a count within bands over that between bands' means; inf if there is none."""
    size = np.bincount(band, minlength=BANDS)
    used = np.count_nonzero(size)
    if used < 2 or len(counts) <= used:
        return 0.0
    mean = np.bincount(band, counts, minlength=BANDS) / np.maximum(size, 1)
    within = float(np.sum(np.square(counts - mean[band])) / (len(counts) - used))
    apart = float(np.sum(size * np.square(mean - counts.mean()))) - (used - 1) * within
    if apart <= 0:
        return np.inf
    return within * (size.sum() - np.sum(size**2) / size.sum()) / apart
