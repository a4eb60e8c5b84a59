"""How good the choices for boxes are: a choice counts where its box found a true one.

What a person sees is a box with its choice, so two things are told apart: is the right choice made
of boxes that were found (`evaluate_chosen`), and how many boxes are right with their choice, those
that were missed or found in vain among them (`count_chosen`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ml_backend.dataset.example import Example
from ml_backend.evaluation.bootstrap import Figure, divide_or_nan, make_bootstrap_weights
from ml_backend.evaluation.class_matches import MatchCounts, mask_classes
from ml_backend.evaluation.classification import (
    ClassificationFigures,
    choose_classes,
    evaluate_choices,
)
from ml_backend.evaluation.matching import IOU_LEVELS, choose_partners, compute_coverage
from ml_backend.imaging.boxes import Boxes, compute_iou
from ml_backend.label_studio.class_names import canonicalize

# The column of `count_chosen`.
WITH_CHOICE = "box with its choice"


@dataclass(frozen=True)
class ChosenBoxes:
    """The predicted boxes of an image, with what was chosen of each.

    Attributes:
        boxes: Of any confidence.
        choices: Of each box: a class → its probability, 0..1; empty where nothing was asked.
    """

    boxes: Boxes
    choices: Sequence[Mapping[str, float]]


def pair_boxes(predicted: Boxes, truth: Boxes) -> list[tuple[int, int]]:
    """Pair boxes of one class by COCO's rules, from IoU 0.5 on: (predicted, true), as indexes."""
    order = np.argsort(-predicted.confidence, kind="stable")
    names, true_names = (
        np.array([canonicalize(str(name)) for name in boxes.label], np.str_)
        for boxes in (predicted.select(order), truth)
    )
    overlap = compute_iou(predicted.xyxy[order], truth.xyxy)
    overlap = np.where(names[:, None] == true_names[None, :], overlap, 0.0)
    partner = choose_partners(overlap, IOU_LEVELS[:1])[0]
    return [(int(order[place]), int(partner[place])) for place in np.flatnonzero(partner >= 0)]


def count_chosen(
    examples: Sequence[Example],
    predicted: Sequence[ChosenBoxes],
    *,
    threshold: float,
    headline: Sequence[str],
    several: bool = False,
) -> MatchCounts:
    """Count the boxes that are right with their choice: one column, WITH_CHOICE.

    A true box that nobody chose anything of is neither right nor wrong, and so is what found it.

    Args:
        examples: Their boxes are not None.
        predicted: On each.
        threshold: The confidence from which a box counts, 0..1.
        headline: The classes of boxes that count.
        several: More than one class may be chosen of a box.
    """
    rows = []
    for example, found in zip(examples, predicted, strict=True):
        truth, true_choices, boxes, choices = _select(example, found, threshold, headline)
        pairs = dict(pair_boxes(boxes, truth))
        right = wrong = 0
        coverage = compute_coverage(boxes.xyxy, example.ignored).max(axis=1, initial=0)
        for place, probabilities in enumerate(choices):
            true = true_choices[pairs[place]] if place in pairs else None
            if true == () or (true is None and coverage[place] >= IOU_LEVELS[0]):
                continue
            chosen = choose_classes(probabilities, 0.5, several)
            is_right = true is not None and _fold(chosen) == _fold(true)
            right, wrong = right + is_right, wrong + (not is_right and bool(chosen))
        rows.append((right, wrong, sum(map(bool, true_choices)) - right))
    counts = np.array(rows, int).reshape(-1, 3)
    return MatchCounts((WITH_CHOICE,), counts[:, :1], counts[:, 1:2], counts[:, 2:])


def evaluate_chosen(
    examples: Sequence[Example],
    predicted: Sequence[ChosenBoxes],
    *,
    threshold: float,
    headline: Sequence[str],
    classes: Sequence[str],
    several: bool = False,
) -> tuple[ClassificationFigures, Figure]:
    """Judge the choices of the boxes that were found, and all boxes with their choice.

    Args:
        examples: Those without boxes are left out.
        predicted: On each.
        threshold: The confidence from which a box counts, 0..1.
        headline: The classes of boxes that count.
        classes: What can be chosen.
        several: More than one class may be chosen of a box.

    Returns:
        The figures of the choices of matched boxes, and F1 of boxes with their choice.
    """
    marked = [pair for pair in zip(examples, predicted, strict=True) if pair[0].boxes is not None]
    items = []
    for example, found in marked:
        truth, true_choices, boxes, choices = _select(example, found, threshold, headline)
        items += [
            (true_choices[true], choices[place], example.group)
            for place, true in pair_boxes(boxes, truth)
            if true_choices[true]
        ]
    true_names, probabilities, groups = zip(*items, strict=True) if items else ((), (), ())
    figures = evaluate_choices(
        true_names,
        probabilities,
        groups,
        classes=classes,
        several=several,
        images=len(marked),
    )
    counts = count_chosen(
        [example for example, _ in marked],
        [found for _, found in marked],
        threshold=threshold,
        headline=headline,
        several=several,
    )
    return figures, _compute_f1(counts, [example.group for example, _ in marked])


def _select(
    example: Example, found: ChosenBoxes, threshold: float, headline: Sequence[str]
) -> tuple[Boxes, list[tuple[str, ...]], Boxes, list[Mapping[str, float]]]:
    """The headline boxes, true and confident, each with its choices."""
    assert example.boxes is not None
    wanted = {canonicalize(name) for name in headline}
    true = np.flatnonzero(mask_classes(example.boxes, wanted))
    choices = example.region_choices or ((),) * len(example.boxes)
    confident = found.boxes.confidence >= np.float32(threshold)
    shown = np.flatnonzero(mask_classes(found.boxes, wanted) & confident)
    return (
        example.boxes.select(true),
        [tuple(choices[place]) for place in true.tolist()],
        found.boxes.select(shown),
        [found.choices[place] if found.choices else {} for place in shown.tolist()],
    )


def _fold(names: Sequence[str]) -> set[str]:
    return {canonicalize(name) for name in names}


def _compute_f1(counts: MatchCounts, groups: Sequence[str]) -> Figure:
    names, group = np.unique(groups, return_inverse=True)
    weights = make_bootstrap_weights(len(names))
    right, wrong, missed = (
        np.bincount(group, column[:, 0], minlength=len(names))
        for column in (counts.right, counts.wrong, counts.missed)
    )
    marked = right + missed
    boxes = np.where(weights @ marked > 0, weights @ (2 * right + wrong + missed), 0)
    return Figure.from_resamples(divide_or_nan(2 * (weights @ right), boxes), marked)
