"""What an image shows, by the boxes that a detector found in it; and two answers compared.

So a detector and a classifier can be judged by the same truth, on the same images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ml_backend.evaluation.bootstrap import (
    Figure,
    average_defined,
    divide_or_nan,
    make_bootstrap_weights,
)
from ml_backend.imaging.boxes import Boxes
from ml_backend.label_studio.class_names import canonicalize, is_clutter

LEAST = 1e-6  # a box at the threshold itself counts: its class is more probable than clutter


class NoDerivation(ValueError):
    """Boxes do not tell which of the classes an image is of."""


def derive_choices(boxes: Boxes, classes: Sequence[str], threshold: float) -> dict[str, float]:
    """Derive what an image is called from the boxes found in it.

    A class is as probable as its most confident box, scaled so that the threshold is 0.5; the
    class of clutter ('Others') as what is left of the most probable other one.

    Args:
        boxes: Found in the image, down to a low confidence.
        classes: What images are called; one of them is clutter, the others are classes of boxes.
        threshold: The confidence from which a box counts, 0..1, exclusive.

    Raises:
        NoDerivation: Not just one of the classes is clutter.
    """
    clutter = [name for name in classes if is_clutter(name)]
    if len(clutter) != 1 or len(classes) < 2:
        raise NoDerivation(
            f"which of {', '.join(classes)} an image is does not follow from boxes: just one of "
            "them must be clutter, such as Others"
        )
    found = [canonicalize(str(name)) for name in boxes.label]
    chances = {}
    for name in classes:
        mine = [label == canonicalize(name) for label in found]
        best = float(boxes.confidence[mine].max(initial=0.0))
        if np.float32(best) >= np.float32(threshold):  # as boxes are counted
            best = max(best, threshold + LEAST)
            chances[name] = 0.5 + 0.5 * (best - threshold) / (1 - threshold)
        else:
            chances[name] = 0.5 * best / threshold
    others = max(chance for name, chance in chances.items() if name not in clutter)
    return {**chances, clutter[0]: 1 - others}


@dataclass(frozen=True)
class ChoiceDifference:
    """By how much the first of two answers is better, on the same items.

    Attributes:
        accuracy: Difference of the shares of items that are right, -1..1, paired over groups.
        balanced_accuracy: The same of the mean recalls over the classes that occur.
    """

    accuracy: Figure
    balanced_accuracy: Figure

    def to_json(self) -> dict[str, Any]:
        """Give plain values; every figure x with x_interval, [low, high] or None."""
        return {
            key: value
            for name in ("accuracy", "balanced_accuracy")
            for figure in [getattr(self, name)]
            for key, value in (
                (name, figure.value),
                (f"{name}_interval", list(figure.interval) if figure.interval else None),
            )
        }


def compare_choices(
    truth: Sequence[str],
    first: Sequence[Mapping[str, float]],
    second: Sequence[Mapping[str, float]],
    groups: Sequence[str],
) -> ChoiceDifference:
    """Compare two answers for the same items, of one class each. Whole groups are resampled.

    Args:
        truth: The class of each item.
        first: The probability of each class, for each item.
        second: Likewise.
        groups: The group of each item.
    """
    unique, group = np.unique(groups, return_inverse=True)
    names = sorted(set(map(canonicalize, truth)))
    true = np.array([[canonicalize(name) == other for other in names] for name in truth])
    weights = make_bootstrap_weights(len(unique))

    def add_up(amount: np.ndarray) -> np.ndarray:
        sums = np.zeros((len(unique), amount.shape[1]))
        np.add.at(sums, group, amount)
        return weights @ sums

    wanted = add_up(true)
    rates = []
    for answers in (first, second):
        right = np.array(
            [
                canonicalize(max(answer, key=answer.__getitem__)) == canonicalize(name)
                for answer, name in zip(answers, truth, strict=True)
            ]
        )
        found = add_up(true & right[:, None])
        accuracy = divide_or_nan(found.sum(axis=1), wanted.sum(axis=1))
        rates.append((accuracy, average_defined(divide_or_nan(found, wanted).T)))
    carriers = np.bincount(group, minlength=len(unique))
    (accuracy, balanced), (other, other_balanced) = rates
    return ChoiceDifference(
        Figure.from_resamples(accuracy - other, carriers),
        Figure.from_resamples(balanced - other_balanced, carriers),
    )
