"""How far neighbouring tiles lie apart, by what many pairs of them show together.

Neighbours that overlap show the same strip, and a stage moves alike everywhere: of all ways in
which they may lie the one counts for which the strips of all pairs together agree best. A pair
with a cell in its strip says much, an empty one nothing. The agreement is the correlation of
each overlap (normalized by what lies in it, as Padfield 2012, 'Masked object registration in the
Fourier domain'), its moments summed over the pairs. That tiles abut is one of the ways: what the
one ends with then goes on in the other, so that thin strips agree nearly as well as any. What tiles
that are no neighbours agree by is chance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import cv2
import numpy as np
from scipy import fft

LEAST, MOST = 0.02, 0.5  # of a side that neighbours share
ASIDE = 0.1  # of a side that a row or column may be shifted by
SPREAD = 0.02  # of a side that a stage misses its place by, either way
AGREE = 0.3  # correlation of strips that show the same
CLEAR = 0.08  # so much better strips have to agree than what abuts, to overlap

_ENOUGH = 360  # px of the shorter side, which tiles are reduced to for the first look
_COARSE = 12  # px that are left of it of what all tiles share

Pair = tuple[np.ndarray, np.ndarray]  # a tile and its right neighbour, (H, W) grey values
Step = tuple[int, int]


def measure_offset(pairs: Callable[[], Iterable[Pair]]) -> Step | None:
    """Measure where the right one of two neighbours lies.

    Args:
        pairs: Gives the neighbours of a scan, all of one size, whenever it is called.

    Returns:
        (x, y) in px of the left one; None where they abut, as far as they show.
    """
    times, small, width = 1, [], 0
    for a, b in pairs():
        times, width = max(1, round(min(a.shape) / _ENOUGH)), a.shape[1]
        small.append(_reduced(a, b, times))
    if not small:
        return None
    high, wide = small[0][0].shape
    aside, least = int(ASIDE * high), max(2, int(LEAST * wide))
    asides, shares = range(-aside, aside + 1), range(least, int(MOST * wide) + 1)
    agreement = _agreement(small, shares, asides)
    little = range(-int(LEAST * high), int(LEAST * high) + 1)
    abutting = max(_continuity(small), _agreement(small, range(1, least), little).max())
    chance = [_agreement(others, shares, asides).max() for others in _strangers(small)]
    if agreement.max() <= max(AGREE, abutting + CLEAR, *chance):
        return None
    # A stage misses its place by a little: the middle counts of where the pairs lie near it.
    spread = max(1, round(SPREAD * wide))
    about = _best(agreement, shares, asides)
    own = [_around(pair, about, spread) for pair in small]
    if times > 1:
        fine = (_reduced(a, b, 1) for a, b in pairs())
        own = [
            (_around(pair, (times * shared, times * down), times)[0], clear)
            for pair, ((shared, down), clear) in zip(fine, own, strict=True)
        ]
    shared, down = np.median([place for place, clear in own if clear] or [about], axis=0)
    return width - round(float(shared)), round(float(down))


def _around(pair: Pair, about: Step, spread: int) -> tuple[Step, bool]:
    """Where a pair agrees best by itself, near a place; and whether it agrees there."""
    shares = range(max(1, about[0] - spread), about[0] + spread + 1)
    asides = range(about[1] - spread, about[1] + spread + 1)
    agreement = _agreement([pair], shares, asides)
    return _best(agreement, shares, asides), bool(agreement.max() > AGREE)


def _best(agreement: np.ndarray, shares: range, asides: range) -> Step:
    row, column = np.unravel_index(agreement.argmax(), agreement.shape)
    return shares[int(column)], asides[int(row)]


def _strangers(pairs: Sequence[Pair]) -> Iterator[list[Pair]]:
    """Pairs that show nothing of each other; none where there is a single pair."""
    if len(pairs) > 1:
        others = [*pairs[1:], pairs[0]]
        yield [(a, b) for (a, _), (_, b) in zip(pairs, others, strict=True)]
        yield [(a, b[::-1]) for (a, _), (_, b) in zip(pairs, others, strict=True)]


def _agreement(pairs: Iterable[Pair], shares: range, asides: range) -> np.ndarray:
    """(asides, shares) correlation of what all pairs show in both.

    If they share so many columns and the right ones lie so many rows lower.
    """
    moments = np.zeros((3, len(asides), len(shares)))
    for a, b in pairs:
        moments += _moments(a, b, shares, asides)
    covariance, of_a, of_b = moments
    size = np.sqrt(np.maximum(of_a, 0) * np.maximum(of_b, 0))
    return np.divide(covariance, size, out=np.zeros_like(size), where=size > 1e-6)


def _moments(a: np.ndarray, b: np.ndarray, shares: range, asides: range) -> np.ndarray:
    """(3, asides, shares) covariance and variances, times the number of px, of each overlap."""
    height, most = a.shape[0], shares[-1]
    a, b = a[:, -most:].astype(np.float64), b[:, :most].astype(np.float64)
    shares_, asides_ = np.array(shares)[None], np.array(asides)[:, None]
    # Of a the last columns and of b the first; rows that the other has as well.
    rows = np.maximum(0, asides_), height + np.minimum(0, asides_)
    of_a = (*rows, most - shares_, np.full_like(shares_, most))
    rows = np.maximum(0, -asides_), height + np.minimum(0, -asides_)
    of_b = (*rows, np.zeros_like(shares_), shares_)
    number = (of_a[1] - of_a[0]) * shares_
    sum_a, sum_b = _sums(a, *of_a), _sums(b, *of_b)
    reach = max(abs(asides[0]), abs(asides[-1]))
    shape = fft.next_fast_len(height + reach, True), fft.next_fast_len(2 * most, True)
    spectrum = fft.rfft2(a, shape) * np.conj(fft.rfft2(b, shape))
    product = fft.irfft2(spectrum, shape)[asides_ % shape[0], most - shares_]
    return np.stack(
        [
            product - sum_a * sum_b / number,
            _sums(a**2, *of_a) - sum_a**2 / number,
            _sums(b**2, *of_b) - sum_b**2 / number,
        ]
    )


def _sums(
    pixels: np.ndarray, top: np.ndarray, bottom: np.ndarray, left: np.ndarray, right: np.ndarray
) -> np.ndarray:
    """Of the px in each rectangle."""
    to = cv2.integral(pixels)
    return to[bottom, right] - to[top, right] - to[bottom, left] + to[top, left]


def _continuity(pairs: Sequence[Pair]) -> float:
    """Correlation, -1..1, of the columns that tiles end with and their neighbours begin with."""
    ends = [(a[:, -1] - a[:, -1].mean(), b[:, 0] - b[:, 0].mean()) for a, b in pairs]
    size = np.sqrt(sum((a**2).sum() for a, _ in ends) * sum((b**2).sum() for _, b in ends))
    return float(sum((a * b).sum() for a, b in ends) / size) if size > 0 else 0.0


def _reduced(a: np.ndarray, b: np.ndarray, times: int) -> Pair:
    """Smaller by so many times, from where they meet.

    And without what all tiles share: the light that falls off towards the edges.
    """
    height, width = (side - side % times for side in a.shape)
    return _detail(a[:height, -width:], times), _detail(b[:height, :width], times)


def _detail(pixels: np.ndarray, times: int) -> np.ndarray:
    height, width = (side // times for side in pixels.shape)
    area = cv2.INTER_AREA
    grey = cv2.resize(pixels.astype(np.float32), (width, height), interpolation=area)
    share = _COARSE / min(height, width)
    coarse = cv2.resize(grey, None, fx=share, fy=share, interpolation=area)
    return grey - cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
