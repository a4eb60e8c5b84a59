"""How far several annotators agree on what things are called: Krippendorff's alpha.

Alpha is 1 - D_o / D_e: the disagreement among those who judged the same unit, over the one that
would be expected if the same names were dealt out by chance. 1 is perfect agreement, 0 that of
chance, below 0 people contradict each other. It takes any number of annotators, who need not have
judged everything. Names have no order, so the nominal form is used.
Source: Krippendorff, Content Analysis, 4th edition 2019, chapter 12; computed by `krippendorff`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import krippendorff
import numpy as np

from ml_backend.evaluation.bootstrap import FEWEST_GROUPS, RESAMPLES, Figure

# What each annotator called one unit (an image or an object), by the annotator's name.
Rating = Mapping[str, str]
_SEED = 20240229


@dataclass(frozen=True)
class AnnotatorAgreement:
    """How far annotators agree.

    Attributes:
        units: Units that at least two annotators judged.
        alpha: Over all of them; None where all units are called the same, so that there is
            nothing to agree on.
        classes: By class, alpha of the question whether a unit belongs to it.
        annotators: By annotator, alpha of the pairs that each makes with the others.
        judged: By annotator, how many of the units each judged.
    """

    units: int
    alpha: Figure
    classes: dict[str, Figure]
    annotators: dict[str, Figure]
    judged: dict[str, int]

    def to_json(self) -> dict[str, Any]:
        """Give plain values; each alpha with its interval, [low, high] or None."""
        return {
            "units": self.units,
            "alpha": self.alpha.value,
            "alpha_interval": self.alpha.interval,
            "classes": {name: _to_json(figure) for name, figure in self.classes.items()},
            "annotators": {
                name: {**_to_json(figure), "units": self.judged[name]}
                for name, figure in self.annotators.items()
            },
        }


def _to_json(figure: Figure) -> dict[str, Any]:
    value = asdict(figure)
    return {"alpha": value["value"], "alpha_interval": value["interval"]}


def evaluate_agreement(ratings: Iterable[Rating]) -> AnnotatorAgreement | None:
    """Evaluate how far annotators agree; intervals are percentiles over resampled units.

    Args:
        ratings: One a unit. Those of fewer than two annotators say nothing about agreement.

    Returns:
        None where no unit was judged by two annotators.
    """
    paired = [rating for rating in ratings if len(rating) > 1]
    if not paired:
        return None
    names = sorted({name for rating in paired for name in rating.values()})
    counts = _count(paired, names)
    annotators = sorted({annotator for rating in paired for annotator in rating})
    return AnnotatorAgreement(
        len(paired),
        compute_alpha(counts),
        {
            name: compute_alpha(np.stack([counts[:, i], counts.sum(axis=1) - counts[:, i]], axis=1))
            for i, name in enumerate(names)
        },
        {
            annotator: compute_alpha(_count(_pair_with_others(paired, annotator), names))
            for annotator in annotators
        },
        {annotator: sum(annotator in rating for rating in paired) for annotator in annotators},
    )


def compute_alpha(counts: np.ndarray) -> Figure:
    """Compute nominal alpha with its interval.

    Args:
        counts: (U, V) int, how many annotators gave each unit each of the V values.

    Returns:
        None as the value where fewer than two values occur or no unit has two judgements.
    """
    value = _compute_once(counts)
    if value is None or len(counts) < FEWEST_GROUPS:
        return Figure(value)
    rng = np.random.default_rng(_SEED)
    drawn = (
        _compute_once(counts[rng.integers(0, len(counts), len(counts))]) for _ in range(RESAMPLES)
    )
    defined = [alpha for alpha in drawn if alpha is not None]
    low, high = np.percentile(defined, [2.5, 97.5]) if defined else (value, value)
    return Figure(value, (float(low), float(high)))


def _compute_once(counts: np.ndarray) -> float | None:
    paired = counts[counts.sum(axis=1) > 1]
    if (paired.sum(axis=0) > 0).sum() < 2:
        return None
    return float(krippendorff.alpha(value_counts=paired, level_of_measurement="nominal"))


def _count(ratings: Sequence[Rating], names: Sequence[str]) -> np.ndarray:
    """(U, V): how many annotators called each unit by each name."""
    place = {name: number for number, name in enumerate(names)}
    counts = np.zeros((len(ratings), len(names)), np.int64)
    for row, rating in zip(counts, ratings, strict=True):
        for name in rating.values():
            row[place[name]] += 1
    return counts


def _pair_with_others(ratings: Sequence[Rating], annotator: str) -> list[Rating]:
    """Every judgement of the annotator beside that of each other one, as a unit of two."""
    return [
        {annotator: rating[annotator], other: name}
        for rating in ratings
        if annotator in rating
        for other, name in rating.items()
        if other != annotator
    ]
