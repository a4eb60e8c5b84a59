"""A version's threshold and calibration, from tasks of the training side that it is judged on.

The models of the folds answer for tasks that they never saw. What they are right about, and how
sure they are of it, is the best guess of what the version will be on new images; held-out tasks
must not decide it, because they judge the version afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ml_backend.dataset.example import Example
from ml_backend.evaluation.calibration import PlattScaling
from ml_backend.imaging.boxes import Boxes
from ml_backend.learners.base import Learner, Prediction
from ml_backend.learners.model_file import ModelCard

# With fewer true objects in the lent tasks, the recipe's threshold is better than a fitted one.
FEWEST_OBJECTS = 20

# A task's image with its truth, and what a model of a fold found in it, not calibrated.
Found = tuple[Example, Prediction]


def tune_card(learner: Learner, card: ModelCard, folds: Sequence[Sequence[Found]]) -> ModelCard:
    """Tune a version's card to what the models of the folds found.

    Args:
        learner: Of the version.
        card: Of the version, whatever it was tuned to before.
        folds: What each model found.

    Returns:
        The card with another threshold and calibration; unchanged where the tasks hold fewer than
        FEWEST_OBJECTS objects of the headline classes.
    """
    found = [pair for fold in folds for pair in fold]
    if not found:
        return card
    counts = learner.count([example for example, _ in found], [p for _, p in found], card)
    objects = (counts.right + counts.missed)[:, np.isin(counts.classes, card.headline)]
    if objects.sum() < FEWEST_OBJECTS:
        return card
    return _tune(learner, card, found)


def calibrate_folds(
    learner: Learner, card: ModelCard, folds: Sequence[Sequence[Found]]
) -> list[list[Found]]:
    """Bring what the models of the folds found to the scale of the version's confidences.

    A threshold is not judged on the boxes that it was chosen by: each fold is calibrated by the
    others, each half of a single fold by the other half, and moved on the scale of logits so that
    the threshold chosen there lies at the card's.

    Args:
        learner: Of the version.
        card: As `tune_card` returned it.
        folds: What each model found.

    Returns:
        The same, in the order of the folds.
    """
    if card.calibration is None:
        return [list(fold) for fold in folds]
    parts = [list(fold) for fold in folds] if len(folds) > 1 else _halve(folds)
    calibrated = []
    for number, part in enumerate(parts):
        others = [pair for other in parts[:number] + parts[number + 1 :] for pair in other]
        tuned = _tune(learner, card, others) if others else card
        scaling = tuned.calibration or PlattScaling()
        offset = scaling.offset + _logit(card.threshold) - _logit(tuned.threshold)
        moved = PlattScaling(scaling.slope, offset)
        calibrated.append([(example, _calibrate(found, moved)) for example, found in part])
    return calibrated if len(folds) > 1 else [[pair for part in calibrated for pair in part]]


def _halve(folds: Sequence[Sequence[Found]]) -> list[list[Found]]:
    return [list(fold[start::2]) for fold in folds for start in (0, 1)]


def _tune(learner: Learner, card: ModelCard, found: Sequence[Found]) -> ModelCard:
    return learner.tune(card, [example for example, _ in found], [p for _, p in found])


def _calibrate(prediction: Prediction, scaling: PlattScaling) -> Prediction:
    boxes = prediction.boxes
    confidence = scaling.scale(boxes.confidence).astype(np.float32)
    return replace(prediction, boxes=Boxes(boxes.xyxy, boxes.label, confidence))


def _logit(p: float) -> float:
    return float(np.log(p / (1 - p)))
