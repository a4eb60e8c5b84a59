"""The boxes of each class over many images, matched: what every box figure is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ml_backend.dataset.example import Example
from ml_backend.evaluation.bootstrap import ratio
from ml_backend.evaluation.matching import MatchedDetections, Matcher, match_boxes, match_images
from ml_backend.imaging.boxes import Boxes
from ml_backend.label_studio.class_names import canonicalize


def tallies(
    images: Sequence[tuple[Example, Boxes]],
    group: np.ndarray,
    groups: int,
    headline: Sequence[str],
    match: Matcher = match_boxes,
) -> dict[str, MatchedDetections]:
    """A tally of every class of the truth and the headline, in order of name.

    images: each with its truth (boxes not None) and what was predicted on it, from the
    lowest confidence on. group: (I,) int in 0..groups-1, the group of each image. Class
    names are compared by `labels.canonicalize` and spelled as in the headline, else as drawn.
    """
    marked = {str(name) for example, _ in images for name in example.boxes.label}  # type: ignore[union-attr]
    drawn = {str(name) for _, boxes in images for name in boxes.label}
    spelled: dict[str, str] = {}
    for name in (*headline, *sorted(drawn), *sorted(marked)):
        spelled.setdefault(canonicalize(name), name)
    keys = {canonicalize(name) for name in (*headline, *marked)}
    found = {}
    for key in sorted(keys, key=spelled.__getitem__):
        parts = []
        for example, boxes in images:
            assert example.boxes is not None
            mine = boxes.where(are(boxes, {key}))
            true = example.boxes.xyxy[are(example.boxes, {key})]
            parts.append((mine.xyxy, mine.confidence.astype(float), true, example.ignored))
        found[spelled[key]] = match_images(parts, group, groups, match)
    return found


def are(boxes: Boxes, classes: set[str]) -> np.ndarray:
    """Which boxes (N,) are of the classes, given by their canonical names."""
    return np.array([canonicalize(str(name)) in classes for name in boxes.label], bool)


def shown_at(one: MatchedDetections, threshold: float) -> np.ndarray:
    """Which boxes (D,) of a tally count at the threshold: drawn, and not ignored."""
    # The threshold as a box carries it: a confidence equal to it counts.
    return (one.confidence >= np.float32(threshold)) & ~one.ignored[0]


def rates(
    one: MatchedDetections, threshold: float, weights: np.ndarray
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Precision, recall and F1 at the threshold: of each its values (R,), and how much of its
    denominator each group holds (G,). weights: (R, G), how often each group counts."""
    shown = shown_at(one, threshold)
    groups = len(one.truths)
    predicted = np.bincount(one.group[shown], minlength=groups)
    found = np.bincount(one.group[shown & one.hit[0]], minlength=groups)
    truths = weights @ one.truths
    halved = np.where(truths > 0, weights @ (predicted + one.truths), 0)
    return {
        "precision": (ratio(weights @ found, weights @ predicted), predicted),
        "recall": (ratio(weights @ found, truths), one.truths),
        "f1": (ratio(2 * (weights @ found), halved), one.truths),
    }


@dataclass(frozen=True)
class Counts:
    """Boxes at a threshold, of each image and class: (I, C) int each.

    classes: their C names. right: drawn boxes that found a true one. wrong: the other
    drawn ones, but for ignored ones. missed: true boxes that were not found.
    """

    classes: tuple[str, ...]
    right: np.ndarray
    wrong: np.ndarray
    missed: np.ndarray

    def where(self, images: Sequence[int]) -> Counts:
        """Those of some images."""
        chosen = list(images)
        return replace(
            self,
            right=self.right[chosen],
            wrong=self.wrong[chosen],
            missed=self.missed[chosen],
        )


def f1_by_class(counts: Counts, weights: np.ndarray) -> np.ndarray:
    """F1 of each class in each redraw: (C, R), NaN where the class has no true box.

    weights: (R, I), how often each image counts."""
    right, wrong, missed = (
        weights @ boxes for boxes in (counts.right, counts.wrong, counts.missed)
    )
    boxes = np.where(right + missed > 0, 2 * right + wrong + missed, 0)
    return ratio(2 * right, boxes).T


def count(
    truth: Sequence[Example],
    predictions: Sequence[Boxes],
    *,
    threshold: float,
    headline: Sequence[str],
) -> Counts:
    """What was right, wrong and missed in every image, for each headline class.

    Every example has boxes. Added up over the images these are the very counts behind
    precision, recall and F1 of `evaluate`.
    """
    images = list(zip(truth, predictions, strict=True))
    every = tallies(images, np.arange(len(images)), len(images), headline)
    wanted = [every[name] for name in headline]

    def boxes(one: MatchedDetections, which: np.ndarray) -> np.ndarray:
        return np.bincount(one.group[which], minlength=len(images))

    empty = np.zeros((len(images), 0), int)
    shown = [boxes(one, shown_at(one, threshold)) for one in wanted]
    found = [boxes(one, shown_at(one, threshold) & one.hit[0]) for one in wanted]
    drawn = np.column_stack([empty, *shown])
    right = np.column_stack([empty, *found])
    truths = np.column_stack([empty, *(one.truths for one in wanted)])
    return Counts(tuple(headline), right, drawn - right, truths - right)
