"""The boxes of each class over many images, matched with the truth: the base of all box figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ml_backend.dataset.example import Example
from ml_backend.evaluation.bootstrap import divide_or_nan
from ml_backend.evaluation.matching import MatchedDetections, Matcher, match_boxes, match_images
from ml_backend.imaging.boxes import Boxes
from ml_backend.label_studio.class_names import canonicalize


def match_classes(
    images: Sequence[tuple[Example, Boxes]],
    group: np.ndarray,
    groups: int,
    headline: Sequence[str],
    matcher: Matcher = match_boxes,
) -> dict[str, MatchedDetections]:
    """Match the boxes of every class of the truth and of the headline.

    Args:
        images: Each with its truth (boxes not None) and the boxes predicted on it, of any
            confidence.
        group: (I,) int in 0..groups-1, the group of each image.
        groups: How many groups there are.
        headline: Classes that are judged even where the truth has none of them.
        matcher: What matches the boxes of one class in one image.

    Returns:
        The matched boxes of each class, in order of name. Class names are compared by
        `class_names.canonicalize`, and spelled as in the headline, else as predicted.
    """
    marked = {str(name) for example, _ in images for name in example.boxes.label}  # type: ignore[union-attr]
    predicted = {str(name) for _, boxes in images for name in boxes.label}
    spelled: dict[str, str] = {}
    for name in (*headline, *sorted(predicted), *sorted(marked)):
        spelled.setdefault(canonicalize(name), name)
    keys = {canonicalize(name) for name in (*headline, *marked)}
    matches = {}
    for key in sorted(keys, key=spelled.__getitem__):
        parts = []
        for example, boxes in images:
            assert example.boxes is not None
            mine = boxes.select(mask_classes(boxes, {key}))
            true = example.boxes.xyxy[mask_classes(example.boxes, {key})]
            parts.append((mine.xyxy, mine.confidence.astype(float), true, example.ignored))
        matches[spelled[key]] = match_images(parts, group, groups, matcher)
    return matches


def mask_classes(boxes: Boxes, classes: set[str]) -> np.ndarray:
    """Tell which boxes (N,) are of the classes, given by their canonical names."""
    return np.array([canonicalize(str(name)) in classes for name in boxes.label], bool)


def mask_predicted(matched: MatchedDetections, threshold: float) -> np.ndarray:
    """Tell which boxes (D,) count at a threshold: confident enough, and not ignored."""
    # Confidences are float32, so the threshold is too: a confidence equal to it counts.
    return (matched.confidence >= np.float32(threshold)) & ~matched.ignored[0]


def compute_rates(
    matched: MatchedDetections, threshold: float, weights: np.ndarray
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Compute precision, recall and F1 of a class at a threshold.

    Args:
        matched: The matched boxes of the class.
        threshold: The confidence from which a box counts, 0..1.
        weights: (R, G), how often each group counts.

    Returns:
        By name of the figure: its values (R,), and how much of its denominator each group
        contributes (G,), see `Figure.from_resamples`.
    """
    counted = mask_predicted(matched, threshold)
    groups = len(matched.truths)
    predicted = np.bincount(matched.group[counted], minlength=groups)
    found = np.bincount(matched.group[counted & matched.hit[0]], minlength=groups)
    truths = weights @ matched.truths
    # A class without a true box has no F1.
    f1_boxes = np.where(truths > 0, weights @ (predicted + matched.truths), 0)
    return {
        "precision": (divide_or_nan(weights @ found, weights @ predicted), predicted),
        "recall": (divide_or_nan(weights @ found, truths), matched.truths),
        "f1": (divide_or_nan(2 * (weights @ found), f1_boxes), matched.truths),
    }


@dataclass(frozen=True)
class MatchCounts:
    """Boxes of each image and class at a threshold.

    Attributes:
        classes: Names of the C classes.
        right: (I, C) int, predicted boxes that found a true one.
        wrong: (I, C) int, the other predicted boxes, without the ignored ones.
        missed: (I, C) int, true boxes that were not found.
    """

    classes: tuple[str, ...]
    right: np.ndarray
    wrong: np.ndarray
    missed: np.ndarray

    def select(self, images: Sequence[int]) -> MatchCounts:
        """Select the counts of some images, by their indexes."""
        chosen = list(images)
        return replace(
            self,
            right=self.right[chosen],
            wrong=self.wrong[chosen],
            missed=self.missed[chosen],
        )


def compute_class_f1(counts: MatchCounts, weights: np.ndarray) -> np.ndarray:
    """Compute F1 of each class in each resample.

    Args:
        counts: Of I images and C classes.
        weights: (R, I), how often each image counts.

    Returns:
        (C, R), NaN where the class has no true box.
    """
    right, wrong, missed = (
        weights @ boxes for boxes in (counts.right, counts.wrong, counts.missed)
    )
    boxes = np.where(right + missed > 0, 2 * right + wrong + missed, 0)
    return divide_or_nan(2 * right, boxes).T


def count_matches(
    truth: Sequence[Example],
    predictions: Sequence[Boxes],
    *,
    threshold: float,
    headline: Sequence[str],
) -> MatchCounts:
    """Count what was right, wrong and missed in every image, for each headline class.

    Added up over the images these are exactly the counts behind precision, recall and F1 of
    `metrics.evaluate`.

    Args:
        truth: Examples whose boxes are not None.
        predictions: The boxes predicted on each.
        threshold: The confidence from which a box counts, 0..1.
        headline: The classes to count, in the order of the columns.

    Raises:
        ValueError: There are not as many predictions as examples.
    """
    images = list(zip(truth, predictions, strict=True))
    by_class = match_classes(images, np.arange(len(images)), len(images), headline)
    matches = [by_class[name] for name in headline]

    def count_by_image(matched: MatchedDetections, mask: np.ndarray) -> np.ndarray:
        return np.bincount(matched.group[mask], minlength=len(images))

    masks = [mask_predicted(matched, threshold) for matched in matches]
    pairs = list(zip(matches, masks, strict=True))
    empty = np.zeros((len(images), 0), int)
    predicted = np.column_stack(
        [empty, *(count_by_image(matched, mask) for matched, mask in pairs)]
    )
    right = np.column_stack(
        [empty, *(count_by_image(matched, mask & matched.hit[0]) for matched, mask in pairs)]
    )
    truths = np.column_stack([empty, *(matched.truths for matched in matches)])
    return MatchCounts(tuple(headline), right, predicted - right, truths - right)
