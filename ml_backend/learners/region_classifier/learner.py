"""The classifier of regions as a learner: it names boxes that others have drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ml_backend.dataset.example import Example
from ml_backend.evaluation.class_matches import MatchCounts
from ml_backend.evaluation.classification import (
    ClassificationFigures,
    choose_classes,
    count_choices,
    evaluate_choices,
)
from ml_backend.imaging.boxes import Boxes
from ml_backend.label_studio.labeling_config import LabelingConfig
from ml_backend.learners.base import Prediction, Progress
from ml_backend.learners.classifier.learner import ClassifierLearner
from ml_backend.learners.model_file import REGION_CLASSIFIER, ModelCard
from ml_backend.learners.region_classifier.inference import RegionClassifier
from ml_backend.learners.region_classifier.training import name_by_label
from ml_backend.learners.training_job import TrainingJob


class RegionClassifierLearner(ClassifierLearner):
    """See `learners.base.Learner`. Its files and recipe are those of the classifier.

    It learns no project and draws none, because it finds no boxes: `detector_classifier` does.
    """

    kind = REGION_CLASSIFIER

    def can_learn(self, labels: LabelingConfig) -> bool:
        """See `Learner.can_learn`."""
        return False

    def match_labels(self, card: ModelCard, labels: LabelingConfig) -> None:
        """See `Learner.match_labels`."""

    def list_confident(self, prediction: Prediction, card: ModelCard) -> list[str]:
        """See `Learner.list_confident`; of a crop without boxes, what it is as a whole."""
        if not len(prediction.boxes):
            return super().list_confident(prediction, card)
        return [name for names in choose_for_boxes(prediction, card) for name in names]

    def list_answers(self, prediction: Prediction, card: ModelCard) -> Boxes:
        """See `Learner.list_answers`: each box with its most probable class."""
        best = [
            max(choices.items(), key=lambda choice: choice[1])
            for choices in prediction.region_choices
        ]
        return Boxes(
            prediction.boxes.xyxy,
            np.array([name for name, _ in best], np.str_),
            np.array([probability for _, probability in best], np.float32),
        )

    def read_truth(self, example: Example) -> tuple[str, ...] | None:
        """See `Learner.read_truth`; an example without a box teaches nothing."""
        return tuple(name for names in name_by_label(example) for name in names) or None

    def train(self, job: TrainingJob, progress: Progress) -> Path:
        """See `training.train`."""
        from ml_backend.learners.region_classifier.training import train

        return train(job, progress)

    def load(self, folder: Path, threads: int | None = None) -> RegionClassifier:
        """Load a version's folder."""
        return RegionClassifier.load(folder, threads)

    def count(
        self, examples: Sequence[Example], predictions: Sequence[Prediction], card: ModelCard
    ) -> MatchCounts:
        """See `Learner.count`: the boxes of an example are added up."""
        rows = []
        for example, prediction in zip(examples, predictions, strict=True):
            chosen = choose_for_boxes(prediction, card)
            rows.append(count_choices(name_by_label(example), chosen, card.headline))
        return MatchCounts(
            card.headline,
            *(
                np.array([getattr(row, name).sum(axis=0) for row in rows], int).reshape(
                    -1, len(card.headline)
                )
                for name in ("right", "wrong", "missed")
            ),
        )

    def evaluate(
        self, examples: Sequence[Example], predictions: Sequence[Prediction], card: ModelCard
    ) -> ClassificationFigures:
        """See `Learner.evaluate`: of every box, whatever image it is in."""
        items = [
            (names, choices, example.group)
            for example, prediction in zip(examples, predictions, strict=True)
            for names, choices in zip(
                name_by_label(example), prediction.region_choices, strict=True
            )
        ]
        truth, choices, groups = zip(*items, strict=True) if items else ((), (), ())
        return evaluate_choices(
            truth,
            choices,
            groups,
            classes=card.classes,
            threshold=card.threshold,
            several=bool(card.options.get("several")),
            images=len(examples),
        )


def choose_for_boxes(prediction: Prediction, card: ModelCard) -> list[tuple[str, ...]]:
    """Choose the classes of each box."""
    several = bool(card.options.get("several"))
    return [
        choose_classes(choices, card.threshold, several) for choices in prediction.region_choices
    ]


LEARNER = RegionClassifierLearner()
