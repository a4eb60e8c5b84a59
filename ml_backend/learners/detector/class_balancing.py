"""Rare objects shown more often, common ones as they come. Pure.

With 400 interphase nuclei and 6 anaphases, most steps of a training show no anaphase. So an
image counts by its rarest object (Gupta et al. 2019, LVIS: repeat-factor sampling, there with
the share of images that show a class, here with the number of its objects), and of the objects
of an image a rare one is looked at, or laid into another field, before a common one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ml_backend.learners.detector.augmentation import DELETED, TrainingImage

# A class is rare from a quarter of the most frequent one's objects on. With fewer classes
# apart than that, mitotic cells and three times as many others say, nothing is changed.
RARE = 0.25
# The most that an object counts: one anaphase shown over and over is learned by heart.
MOST = 4.0


def compute_repeat_factors(counts: np.ndarray) -> np.ndarray:
    """How much more an object of each class counts: sqrt(RARE · most / count), 1..MOST.

    counts: (C,), objects of each class; of a class without any, the factor is MOST.
    """
    most = counts.max(initial=0)
    return np.clip(np.sqrt(RARE * most / np.maximum(counts, 1)), 1, MOST)


def weight_objects(views: Sequence[TrainingImage]) -> list[TrainingImage]:
    """The views, with what each of their objects counts; as they are where all count alike.

    Places where nothing is (`DELETED`) count together as much as objects of the most frequent
    class that are sqrt(most · places) many: a few are shown often, many do not push
    the objects out.
    """
    label = np.concatenate([view.label for view in views])
    nothing = int((label == DELETED).sum())
    counts = np.bincount(label[label != DELETED], minlength=1)
    of_nothing = min(np.sqrt(max(counts.max(), 1) / max(nothing, 1)), MOST)
    # NOTHING is -1, the last one.
    factor = np.append(compute_repeat_factors(counts), of_nothing)
    if (factor[label] == 1).all():
        return list(views)
    return [replace(view, weight=factor[view.label]) for view in views]


def compute_image_weights(views: Sequence[TrainingImage]) -> np.ndarray | None:
    """How much more often each view is shown than one of common objects alone: (views,), at
    least 1; None where all are shown alike."""
    weights = [1.0 if view.weight is None else view.weight.max(initial=1) for view in views]
    return np.array(weights) if len(set(weights)) > 1 else None


def resample_indices(
    indices: np.ndarray, weights: np.ndarray | None, rng: np.random.Generator
) -> np.ndarray:
    """As many of the indices as there are, each as often as the weight it points to says.

    Systematic: one that should come 1.4 times comes once or twice. None: each as it is.
    """
    if weights is None:
        return indices
    ends = np.cumsum(weights[indices])
    places = (rng.random() + np.arange(len(indices))) * (ends[-1] / len(indices))
    return indices[np.searchsorted(ends[:-1], places, side="right")]
