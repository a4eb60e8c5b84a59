"""The cells of a project, estimated from the tiles that were reviewed. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ml_backend.counting.reviewed import ReviewedTiles
from ml_backend.estimation.count import Expected, estimate_ratio, estimate_total
from ml_backend.estimation.estimate import Estimate
from ml_backend.estimation.missing import Missing, find_missing
from ml_backend.estimation.plan import BATCH, Plan, plan_reviews
from ml_backend.label_studio.class_names import STAGES, canonicalize, is_mitotic

INTERPHASE = "Interphase"

Kind = Literal["count", "share"]


@dataclass(frozen=True)
class Figure:
    """One figure of a project.

    Attributes:
        what: A class, 'all' of the classes that the project is about, or 'mitotic index'.
        kind: A number of objects, or a share of them.
        estimate: Its value and how sure that is.
        method: How the tiles were chosen, and what the estimate rests on.
        naive: What the detector's claims add up to; None where that is not known.
        sample: The scan, sample or slide that it is about; "" for all together.
    """

    what: str
    kind: Kind
    estimate: Estimate
    method: str
    naive: float | None = None
    sample: str = ""


@dataclass(frozen=True)
class ProjectCount:
    """How many objects a project's tiles hold, by what was reviewed so far.

    Attributes:
        figures: All figures; the first is the project's headline.
        missing: What is left to find, of the first figure.
        plan: What the next reviews will bring for the first figure; None with fewer than two
            reviewed tiles, or when all are reviewed.
        is_even: Whether every tile was as likely to be reviewed as any other. Else what was
            counted must not be divided by the number of reviewed tiles, nor class by class.
        notes: What else has to be known, in sentences.
    """

    figures: tuple[Figure, ...]
    missing: Missing
    plan: Plan | None
    is_even: bool = True
    notes: tuple[str, ...] = ()

    @property
    def headline(self) -> Figure:
        """The figure that the project is about."""
        return self.figures[0]


def estimate_project(tiles: ReviewedTiles, method: str) -> ProjectCount:
    """Estimate how many objects of each class all tiles hold, and the shares among them.

    Args:
        tiles: What was reviewed.
        method: How the tiles were chosen, in words.
    """
    figures = (*_list_figures(tiles, method), *_list_figures_of_samples(tiles, method))
    rows = _select_headline(tiles)
    plan = None
    if 2 <= len(tiles.probability) < tiles.tiles:
        plan = plan_reviews(
            tiles.counts[rows].sum(axis=0),
            tiles.probability,
            tiles.tiles,
            BATCH,
            expect_classes(tiles, rows),
        )
    missing = find_missing(figures[0].estimate)
    return ProjectCount(figures, missing, plan, tiles.is_even, tuple(_list_notes(tiles)))


def _select_headline(tiles: ReviewedTiles) -> list[int]:
    return [n for n, name in enumerate(tiles.classes) if name in tiles.headline]


def _list_figures(tiles: ReviewedTiles, method: str) -> Iterator[Figure]:
    headline = _select_headline(tiles)
    if len(headline) != 1:
        yield Figure(
            _name_headline(tiles), "count", _estimate_count(tiles, headline), method, tiles.naive
        )
    for row, name in sorted(enumerate(tiles.classes), key=lambda item: item[0] not in headline):
        naive = tiles.naive if [row] == headline else None
        yield Figure(name, "count", _estimate_count(tiles, [row]), method, naive)
    for what, kind, estimate in _estimate_mitotic_index(tiles):
        yield Figure(what, kind, estimate, method)
    dividing = [n for n, name in enumerate(tiles.classes) if is_mitotic(name)]
    for stage in STAGES:
        part = [n for n in dividing if canonicalize(tiles.classes[n]) == stage]
        if part and len(dividing) > 1:
            what = f"{tiles.classes[part[0]]} of dividing"
            yield Figure(what, "share", _estimate_share(tiles, part, dividing), method)


def _name_headline(tiles: ReviewedTiles) -> str:
    return tiles.headline[0] if len(tiles.headline) == 1 else "all"


def _estimate_mitotic_index(tiles: ReviewedTiles) -> list[tuple[str, Kind, Estimate]]:
    """The mitotic index, where resting cells are marked too: else nothing is to be divided by."""
    dividing = [n for n, name in enumerate(tiles.classes) if is_mitotic(name)]
    resting = [n for n, name in enumerate(tiles.classes) if canonicalize(name) == INTERPHASE]
    marked = tiles.counts[resting].sum() + tiles.known[resting].sum()
    if not dividing or not marked:
        return []
    estimate = _estimate_share(tiles, dividing, [*dividing, *resting])
    return [("mitotic index", "share", estimate)]


def _list_figures_of_samples(tiles: ReviewedTiles, method: str) -> Iterator[Figure]:
    """The headline of each scan, sample or slide: on the tiles outside of it there is nothing."""
    if len(tiles.sizes) < 2:
        return
    headline = _select_headline(tiles)
    nothing = np.zeros(len(tiles.probability))
    for name in sorted(tiles.sizes):
        inside = np.array(tiles.samples) == name
        part = replace(
            tiles,
            counts=tiles.counts * inside,
            known=tiles.known_in.get(name, np.zeros(len(tiles.classes))),
            expected=nothing,
            expected_left=nothing,
        )
        reviewed = int(inside.sum())
        for what, kind, estimate in (
            (_name_headline(tiles), "count", _estimate_count(part, headline)),
            *_estimate_mitotic_index(part),
        ):
            here = replace(estimate, reviewed=reviewed, tiles=tiles.sizes[name])
            yield Figure(what, kind, here, method, sample=name)


def _estimate_count(tiles: ReviewedTiles, rows: Sequence[int]) -> Estimate:
    counts = tiles.counts[rows].sum(axis=0)
    known = float(tiles.known[rows].sum())
    found = estimate_total(counts, tiles.probability, tiles.tiles, expect_classes(tiles, rows))
    # What was counted is certain, so no estimate is below it.
    value = np.maximum(found.value, found.counted)
    return Estimate(
        np.asarray(value + known),
        found.interval + known,
        found.sequence + known,
        np.asarray(found.counted + known),
        found.reviewed + tiles.known_tiles,
        found.tiles + tiles.known_tiles,
    )


def _estimate_share(tiles: ReviewedTiles, part: Sequence[int], whole: Sequence[int]) -> Estimate:
    found = estimate_ratio(
        tiles.counts[part].sum(axis=0),
        tiles.counts[whole].sum(axis=0),
        tiles.probability,
        tiles.tiles,
        expect_classes(tiles, part),
        expect_classes(tiles, whole),
        known_part=float(tiles.known[part].sum()),
        known_whole=float(tiles.known[whole].sum()),
    )
    return replace(
        found,
        reviewed=found.reviewed + tiles.known_tiles,
        tiles=found.tiles + tiles.known_tiles,
    )


def expect_classes(tiles: ReviewedTiles, rows: Sequence[int]) -> Expected:
    """Say how many objects of some classes were expected before each draw.

    What was expected is divided among the headline classes as they had been counted until then;
    nothing was expected of the others. So each number is known before its draw.

    Args:
        tiles: What was reviewed.
        rows: The classes, by their numbers.
    """
    headline = _select_headline(tiles)
    if not headline or not len(tiles.probability):
        return Expected(tiles.expected, tiles.expected_left)
    asked = [row for row in rows if row in headline]
    share = len(asked) / len(headline)
    before = np.cumsum(tiles.counts, axis=1) - tiles.counts + tiles.known[:, None]
    part, whole = before[asked].sum(axis=0), before[headline].sum(axis=0)
    share_then = (part + share) / (whole + 1)
    return Expected(share_then * tiles.expected, share_then * tiles.expected_left)


def _list_notes(tiles: ReviewedTiles) -> Iterator[str]:
    if tiles.waiting:
        yield (
            f"{tiles.waiting} reviewed tiles do not count yet: in the order in which the tiles "
            f"were drawn, task {tiles.missing} comes before them and is not submitted"
            if tiles.missing is not None
            else f"{tiles.waiting} reviewed tiles do not count yet: they were not drawn so far"
        )
    if tiles.uncounted:
        yield f"{tiles.uncounted} tiles came later and are in no number until some are drawn"
