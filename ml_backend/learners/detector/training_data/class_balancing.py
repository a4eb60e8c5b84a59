"""Class balancing: images and objects of rare classes are chosen more often.

With 400 interphase nuclei and 6 anaphases, most steps of a training show no anaphase. So an
image is repeated for its rarest object (Gupta et al. 2019, LVIS: repeat-factor sampling, there
with the share of images that show a class, here with the number of its objects), and of the
objects of an image a rare one is centred, or pasted into another image, more often than a
common one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ml_backend.learners.detector.training_data.augmentation import DELETED, TrainingImage

# A class is rare when it has less than a quarter of the objects of the most frequent class. So
# nothing is changed for, say, mitotic cells and three times as many others.
RARE = 0.25
# The greatest repeat factor: a single anaphase shown over and over is learned by heart.
MOST = 4.0


def compute_repeat_factors(counts: np.ndarray) -> np.ndarray:
    """Compute how much more often to show an object of each class.

    Args:
        counts: (C,), objects of each class.

    Returns:
        (C,), sqrt(RARE · most / count) limited to 1..MOST; MOST for a class without objects.
    """
    most = counts.max(initial=0)
    return np.clip(np.sqrt(RARE * most / np.maximum(counts, 1)), 1, MOST)


def weight_objects(images: Sequence[TrainingImage]) -> list[TrainingImage]:
    """Give each object of the images its repeat factor; no weights where all factors are 1.

    Deleted boxes (`DELETED`) together weigh as much as sqrt(most · their number) objects of the
    most frequent class, which has `most`: a few are shown often, many do not displace objects.
    """
    label = np.concatenate([image.label for image in images])
    deleted = int((label == DELETED).sum())
    counts = np.bincount(label[label != DELETED], minlength=1)
    deleted_factor = min(np.sqrt(max(counts.max(), 1) / max(deleted, 1)), MOST)
    # DELETED is -1, which indexes the last factor.
    factor = np.append(compute_repeat_factors(counts), deleted_factor)
    if (factor[label] == 1).all():
        return list(images)
    return [replace(image, weight=factor[image.label]) for image in images]


def compute_image_weights(images: Sequence[TrainingImage]) -> np.ndarray | None:
    """Compute how much more often to show each image than one of common objects alone.

    Returns:
        (images,), at least 1; None where all are shown alike.
    """
    weights = [1.0 if image.weight is None else image.weight.max(initial=1) for image in images]
    return np.array(weights) if len(set(weights)) > 1 else None


def resample_indices(
    indices: np.ndarray, weights: np.ndarray | None, rng: np.random.Generator
) -> np.ndarray:
    """Draw as many indices as given, each on average in proportion to its weight.

    Systematic sampling: an index with the expected count 1.4 is drawn once or twice.

    Args:
        indices: (N,), may repeat.
        weights: Looked up by index; None leaves the indices as they are.
        rng: The source of randomness.
    """
    if weights is None:
        return indices
    ends = np.cumsum(weights[indices])
    points = (rng.random() + np.arange(len(indices))) * (ends[-1] / len(indices))
    return indices[np.searchsorted(ends[:-1], points, side="right")]
