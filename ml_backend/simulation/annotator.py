"""The annotator that a program plays: shown boxes become the truth, and every edit is counted."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ml_backend.dataset.example import Example
from ml_backend.evaluation.matching import compute_coverage
from ml_backend.imaging.boxes import (
    Boxes,
    choose_pairs,
    compute_iou,
    compute_overlap_of_smaller,
)
from ml_backend.label_studio.class_names import canonicalize
from ml_backend.simulation.effort import Effort

# From this overlap on a shown box is about a true one,
SAME_IOU = 0.5
# and from this on nobody would move it.
WELL_PLACED_IOU = 0.75


@dataclass(frozen=True)
class Review:
    """What came of a review.

    Attributes:
        example: As training gets it: the true boxes, and what was deleted.
        effort: What it took.
    """

    example: Example
    effort: Effort


def review(truth: Example, shown: Boxes) -> Review:
    """Correct the boxes that are shown on an image until they are the true ones.

    Boxes are matched one to one, those of the same class first, then by overlap. In ignored
    regions the annotator does nothing. As in the product, a deleted box teaches only where no true
    box lies.

    Args:
        truth: A labelled example.
        shown: What the version shows.
    """
    assert truth.boxes is not None
    true = truth.boxes
    inside = compute_coverage(shown.xyxy, truth.ignored).max(axis=1, initial=0)
    overlap = compute_iou(true.xyxy, shown.xyxy)
    names = [np.array([canonicalize(str(n)) for n in b.label], np.str_) for b in (true, shown)]
    other = names[0][:, None] != names[1][None, :]
    near = np.argwhere(overlap >= SAME_IOU)
    order = sorted((other[i, j], -overlap[i, j], i, j) for i, j in near.tolist())
    pairs = choose_pairs((i, j) for *_, i, j in order)
    wrong = np.ones(len(shown), bool)
    wrong[[j for _, j in pairs]] = False
    wrong &= inside < SAME_IOU
    effort = Effort(
        images=1,
        added=len(true) - len(pairs),
        deleted=int(wrong.sum()),
        moved=sum(bool(overlap[pair] < WELL_PLACED_IOU) for pair in pairs),
        renamed=sum(bool(other[pair]) for pair in pairs),
    )
    covered = compute_overlap_of_smaller(shown.xyxy, true.xyxy).max(axis=1, initial=0)
    empty = wrong & (covered < SAME_IOU)
    return Review(replace(truth, deleted=shown.xyxy[empty]), effort)
