"""Two tables as the field prints them: images by what they show, objects by their stage.

After Nagaki et al. 2021, doi 10.1007/s10577-021-09676-z: Table 1 sorts images by whether
whole, partial or no chromosomes are in them, Table 2 counts cells by stage; each says how
many were sorted rightly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ml_backend.evaluation.bootstrap import Figure, ratio
from ml_backend.evaluation.confusion import BACKGROUND, MISSED

WHOLE, PARTIAL, WITH, WITHOUT, ALL = "whole", "partial", "with", "without", "all"
# Pixels; a box that ends so close to the image's edge is cut by it.
_EDGE = 1.0


@dataclass(frozen=True)
class ImageRow:
    """Images that show the same: how many, in how many of them something is called, and the
    share (0..1) that is sorted rightly.

    shows: whole (at least one headline object that the edge does not cut), partial (only cut
    ones), with (some, but which is not known), without, or all of these.
    """

    shows: str
    images: int
    called: int
    accuracy: Figure


@dataclass(frozen=True)
class StageRow:
    """A class: boxes marked, drawn as it, drawn as another, missed, and right / marked."""

    stage: str
    marked: int
    right: int
    other: int
    missed: int
    accuracy: Figure


def shows(positive: bool, headline: np.ndarray, size: tuple[int, int] | None) -> str:
    """What an image shows. headline: (N, 4) its true boxes. size: width, height, if known."""
    if not positive:
        return WITHOUT
    if size is None or not len(headline):
        return WITH
    cut = (headline[:, :2] <= _EDGE).any(axis=1)
    cut |= (headline[:, 2:] >= np.array(size) - _EDGE).any(axis=1)
    return PARTIAL if cut.all() else WHOLE


def image_rows(
    kinds: Sequence[str], called: np.ndarray, group: np.ndarray, weights: np.ndarray
) -> tuple[ImageRow, ...]:
    """Table 1. kinds: what each image `shows`. called, group: (I,). weights: (R, G)."""
    kind = np.array(kinds, str)
    right = called == (kind != WITHOUT)
    rows = []
    for name in (WHOLE, PARTIAL, WITH, WITHOUT, ALL):
        mine = kind == name if name != ALL else np.ones(len(kind), bool)
        if mine.any():
            held = np.bincount(group[mine], minlength=weights.shape[1])
            good = np.bincount(group[mine & right], minlength=weights.shape[1])
            accuracy = Figure.over(ratio(weights @ good, weights @ held), held)
            rows.append(ImageRow(name, int(mine.sum()), int(called[mine].sum()), accuracy))
    return tuple(rows)


def stage_rows(
    confusion: dict[str, dict[str, int]], accuracy: dict[str, Figure]
) -> tuple[StageRow, ...]:
    """Table 2, from what was taken for what; the last row is of all stages together.

    accuracy: of each class, and of ALL.
    """
    counts = {
        stage: np.array([sum(drawn.values()), drawn[stage], drawn[MISSED]])
        for stage, drawn in confusion.items()
        if stage != BACKGROUND
    }
    if len(counts) > 1:
        counts[ALL] = np.sum(list(counts.values()), axis=0)
    return tuple(
        StageRow(stage, marked, right, marked - right - missed, missed, accuracy[stage])
        for stage, (marked, right, missed) in ((name, n.tolist()) for name, n in counts.items())
    )
