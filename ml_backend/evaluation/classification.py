"""How good predicted choices are: the classes of whole images, or of regions.

An item is what one choice is about: an image or a region. Where a single class is chosen,
accuracy, confusion matrix and calibration are the usual ones. Where several may be chosen, an
item is right when all its classes are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ml_backend.evaluation.bootstrap import (
    Figure,
    average_defined,
    divide_or_nan,
    make_bootstrap_weights,
)
from ml_backend.evaluation.calibration import Calibration, measure_calibration
from ml_backend.evaluation.class_matches import MatchCounts
from ml_backend.label_studio.class_names import canonicalize


@dataclass(frozen=True)
class ChoiceFigures:
    """The figures of one class.

    Attributes:
        precision: Share of its predictions that are right, 0..1.
        recall: Share of its items that are found, 0..1.
        f1: Their harmonic mean.
        truths: Items of the class.
        predicted: Items that were called so.
    """

    precision: Figure
    recall: Figure
    f1: Figure
    truths: int
    predicted: int


@dataclass(frozen=True)
class ClassificationFigures:
    """What `evaluate_choices` found; all figures 0..1, undefined ones None.

    Attributes:
        images: Of which the items are.
        items: Judged: whole images, or regions.
        groups: How many groups they belong to.
        accuracy: Share of items whose choice is right.
        balanced_accuracy: Mean recall over the classes that occur.
        f1: Mean F1 over the classes that occur.
        classes: Each class of the truth and the model.
        confusion: True class → predicted class → items; of items with one class each.
        calibration: Does the probability of the chosen class mean what it says.
    """

    images: int
    items: int
    groups: int
    accuracy: Figure
    balanced_accuracy: Figure
    f1: Figure
    classes: dict[str, ChoiceFigures]
    confusion: dict[str, dict[str, int]]
    calibration: Calibration

    def to_json(self) -> dict[str, Any]:
        """Convert to plain values; every figure x comes with x_interval, [low, high] or None."""
        return {
            "images": self.images,
            "items": self.items,
            "groups": self.groups,
            **_plain("accuracy", self.accuracy),
            **_plain("balanced_accuracy", self.balanced_accuracy),
            **_plain("f1", self.f1),
            **_plain("calibration_error", self.calibration.error),
            "classes": {
                name: {
                    **_plain("precision", figures.precision),
                    **_plain("recall", figures.recall),
                    **_plain("f1", figures.f1),
                    "truths": figures.truths,
                    "predicted": figures.predicted,
                }
                for name, figures in self.classes.items()
            },
            "confusion": self.confusion,
            "calibration": {
                **_plain("error", self.calibration.error),
                "bins": [asdict(bin_) for bin_ in self.calibration.bins],
            },
        }


def choose_classes(
    probabilities: Mapping[str, float], threshold: float, several: bool = False
) -> tuple[str, ...]:
    """Choose the classes of an item.

    Args:
        probabilities: Of each class, 0..1.
        threshold: From which a class is chosen, where several may be.
        several: More than one class may be chosen; else the most probable one is.

    Returns:
        The most probable first; () without any probability.
    """
    ranked = sorted(probabilities, key=lambda name: -probabilities[name])
    if several:
        return tuple(name for name in ranked if probabilities[name] >= threshold)
    return tuple(ranked[:1])


def count_choices(
    truth: Sequence[Sequence[str]], chosen: Sequence[Sequence[str]], headline: Sequence[str]
) -> MatchCounts:
    """Count what was chosen rightly, wrongly and not at all: of each item and headline class."""
    true, called = (_table(rows, headline) for rows in (truth, chosen))
    return MatchCounts(
        tuple(headline),
        (true & called).astype(int),
        (called & ~true).astype(int),
        (true & ~called).astype(int),
    )


def evaluate_choices(
    truth: Sequence[Sequence[str]],
    probabilities: Sequence[Mapping[str, float]],
    groups: Sequence[str],
    *,
    classes: Sequence[str],
    threshold: float = 0.5,
    several: bool = False,
    images: int | None = None,
) -> ClassificationFigures:
    """Judge the probabilities of each item. Intervals are over groups.

    Args:
        truth: The classes of each item, as people chose.
        probabilities: Of each item: a class → its probability, 0..1.
        groups: The group of each item; whole groups are resampled.
        classes: Those that the model knows; class names are compared by `class_names.canonicalize`.
        threshold: From which a class is chosen, where several may be.
        several: More than one class may be chosen.
        images: That the items are of; as many as items where None.

    Raises:
        ValueError: There are not as many probabilities and groups as items.
    """
    if not len(truth) == len(probabilities) == len(groups):
        raise ValueError(
            f"{len(truth)} items, {len(probabilities)} predictions, {len(groups)} groups: "
            "one for each"
        )
    spelled = {canonicalize(name): name for row in truth for name in row}
    spelled |= {canonicalize(name): name for name in classes}
    names = list(dict.fromkeys((*classes, *spelled.values())))
    chosen = [choose_classes(item, threshold, several) for item in probabilities]
    true, called = _table(truth, names), _table(chosen, names)
    unique, group = np.unique(groups, return_inverse=True)
    weights = make_bootstrap_weights(len(unique))

    def sum_by_group(amount: np.ndarray) -> np.ndarray:
        """Add up by group: (G, C) from (I, C), or (G,) from (I,)."""
        sums = np.zeros((len(unique), *amount.shape[1:]))
        np.add.at(sums, group, amount)
        return sums

    both, truths, calls = sum_by_group(true & called), sum_by_group(true), sum_by_group(called)
    found, wanted, made = weights @ both, weights @ truths, weights @ calls
    recall = divide_or_nan(found, wanted)
    # A class without an item has no F1; one that is never called has F1 0.
    f1 = divide_or_nan(2 * found, np.where(wanted > 0, wanted + made, 0))
    precision = divide_or_nan(found, made)
    items = sum_by_group(np.ones(len(truth)))
    right = (true == called).all(axis=1)
    confidence = np.array([max(item.values(), default=0.0) for item in probabilities], float)
    return ClassificationFigures(
        images=len(truth) if images is None else images,
        items=len(truth),
        groups=len(unique),
        accuracy=Figure.from_resamples(
            divide_or_nan(weights @ sum_by_group(right), weights @ items), items
        ),
        balanced_accuracy=Figure.from_resamples(average_defined(recall.T), items),
        f1=Figure.from_resamples(average_defined(f1.T), items),
        classes={
            name: ChoiceFigures(
                precision=Figure.from_resamples(precision[:, column], calls[:, column]),
                recall=Figure.from_resamples(recall[:, column], truths[:, column]),
                f1=Figure.from_resamples(f1[:, column], truths[:, column]),
                truths=int(true[:, column].sum()),
                predicted=int(called[:, column].sum()),
            )
            for column, name in enumerate(names)
        },
        confusion=_count_confusion(true, called, names),
        calibration=measure_calibration(confidence, right, group, weights),
    )


def _table(rows: Sequence[Sequence[str]], names: Sequence[str]) -> np.ndarray:
    """Tell which item is of which class: (I, C) bool."""
    column = {canonicalize(name): number for number, name in enumerate(names)}
    table = np.zeros((len(rows), len(names)), bool)
    for row, classes in enumerate(rows):
        for name in classes:
            if (number := column.get(canonicalize(name))) is not None:
                table[row, number] = True
    return table


def _count_confusion(
    true: np.ndarray, called: np.ndarray, names: Sequence[str]
) -> dict[str, dict[str, int]]:
    single = (true.sum(axis=1) == 1) & (called.sum(axis=1) == 1)
    counts = true[single].T.astype(int) @ called[single].astype(int)
    return {
        name: dict(zip(names, row, strict=True))
        for name, row in zip(names, counts.tolist(), strict=True)
    }


def _plain(name: str, figure: Figure) -> dict[str, Any]:
    interval = list(figure.interval) if figure.interval else None
    return {name: figure.value, f"{name}_interval": interval}
