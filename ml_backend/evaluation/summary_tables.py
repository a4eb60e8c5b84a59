"""Two tables that the field prints: images by what they show, and objects by their stage.

After Nagaki et al. 2021, doi 10.1007/s10577-021-09676-z. Table 1 sorts images by whether whole,
partial or no chromosomes are in them. Table 2 counts cells by stage. Both say how many were
sorted correctly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ml_backend.evaluation.bootstrap import Figure, divide_or_nan
from ml_backend.evaluation.confusion import BACKGROUND, MISSED

WHOLE, PARTIAL, WITH, WITHOUT, ALL = "whole", "partial", "with", "without", "all"
# In pixels: a box that ends so close to the image's edge is cut by it.
_EDGE = 1.0


@dataclass(frozen=True)
class ImageRow:
    """A row of Table 1: images that show the same.

    Attributes:
        shows: `whole` (at least one headline object that the edge does not cut), `partial`
            (only cut ones), `with` (some, but it is not known which), `without`, or `all`.
        images: How many there are.
        called: In how many of them a headline object was predicted.
        accuracy: The share (0..1) that was sorted correctly.
    """

    shows: str
    images: int
    called: int
    accuracy: Figure


@dataclass(frozen=True)
class StageRow:
    """A row of Table 2: the true boxes of a class.

    Attributes:
        stage: The class, or `all`.
        marked: True boxes.
        right: Those that were predicted as this class.
        other: Those that were predicted as another class.
        missed: Those that were not found.
        accuracy: right / marked, 0..1.
    """

    stage: str
    marked: int
    right: int
    other: int
    missed: int
    accuracy: Figure


def classify_content(positive: bool, headline: np.ndarray, size: tuple[int, int] | None) -> str:
    """Name what an image shows, see `ImageRow`.

    Args:
        positive: Whether it holds a headline object.
        headline: (N, 4), the true boxes of headline objects, in pixels.
        size: Width and height in pixels, where they are known.
    """
    if not positive:
        return WITHOUT
    if size is None or not len(headline):
        return WITH
    cut = (headline[:, :2] <= _EDGE).any(axis=1)
    cut |= (headline[:, 2:] >= np.array(size) - _EDGE).any(axis=1)
    return PARTIAL if cut.all() else WHOLE


def make_image_rows(
    kinds: Sequence[str], called: np.ndarray, group: np.ndarray, weights: np.ndarray
) -> tuple[ImageRow, ...]:
    """Make the rows of Table 1.

    Args:
        kinds: What each image shows, see `classify_content`.
        called: (I,) bool, whether a headline object was predicted in it.
        group: (I,) int, the group of each image.
        weights: (R, G), how often each group counts.
    """
    kind = np.array(kinds, str)
    right = called == (kind != WITHOUT)
    rows = []
    for name in (WHOLE, PARTIAL, WITH, WITHOUT, ALL):
        mine = kind == name if name != ALL else np.ones(len(kind), bool)
        if mine.any():
            total = np.bincount(group[mine], minlength=weights.shape[1])
            good = np.bincount(group[mine & right], minlength=weights.shape[1])
            accuracy = Figure.from_resamples(divide_or_nan(weights @ good, weights @ total), total)
            rows.append(ImageRow(name, int(mine.sum()), int(called[mine].sum()), accuracy))
    return tuple(rows)


def make_stage_rows(
    confusion: dict[str, dict[str, int]], accuracy: dict[str, Figure]
) -> tuple[StageRow, ...]:
    """Make the rows of Table 2; the last is of all stages together.

    Args:
        confusion: True class, or background → predicted class, or missed → boxes.
        accuracy: Of each class, and of ALL.
    """
    counts = {
        stage: np.array([sum(predicted.values()), predicted[stage], predicted[MISSED]])
        for stage, predicted in confusion.items()
        if stage != BACKGROUND
    }
    if len(counts) > 1:
        counts[ALL] = np.sum(list(counts.values()), axis=0)
    return tuple(
        StageRow(stage, marked, right, marked - right - missed, missed, accuracy[stage])
        for stage, (marked, right, missed) in ((name, n.tolist()) for name, n in counts.items())
    )
