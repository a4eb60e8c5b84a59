"""Detector and classifier as one learner: boxes, and what annotators choose of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ml_backend.dataset.example import Example
from ml_backend.evaluation.class_matches import MatchCounts
from ml_backend.evaluation.classification import choose_classes
from ml_backend.evaluation.region_choices import ChosenBoxes, count_chosen, evaluate_chosen
from ml_backend.imaging.boxes import Boxes
from ml_backend.label_studio.labeling_config import ClassMatching, LabelingConfig, RectangleControl
from ml_backend.learners.base import Prediction, Progress
from ml_backend.learners.classifier.learner import LEARNER as CLASSIFIER
from ml_backend.learners.detector.learner import LEARNER as DETECTOR
from ml_backend.learners.detector.learner import DetectorLearner, find_drawn
from ml_backend.learners.detector_classifier.figures import DetectorClassifierFigures
from ml_backend.learners.detector_classifier.inference import DetectorClassifier
from ml_backend.learners.detector_classifier.parts import PART_FILES, PARTS, unpack
from ml_backend.learners.model_file import DETECTOR_CLASSIFIER, FILE_NAME, ModelCard
from ml_backend.learners.training_job import TrainingJob


class DetectorClassifierLearner(DetectorLearner):
    """See `learners.base.Learner`: a detector whose boxes have choices."""

    kind = DETECTOR_CLASSIFIER
    serving_files = PART_FILES
    recipe: Mapping[str, Any] = {"detector": DETECTOR.recipe, "classifier": CLASSIFIER.recipe}

    def can_learn(self, labels: LabelingConfig) -> bool:
        """See `Learner.can_learn`: rectangles, and choices for each."""
        return bool(labels.controls) and bool(labels.region_choices)

    def write_result(
        self,
        prediction: Prediction,
        card: ModelCard,
        labels: LabelingConfig,
        matching: ClassMatching[RectangleControl],
        shown: frozenset[str],
        version: str,
    ) -> list[dict[str, Any]]:
        """See `Learner.write_result`."""
        drawn = find_drawn(prediction, card, shown)
        chosen = choose_for_boxes(prediction, card)
        width, height = prediction.size
        return labels.write_regions(
            prediction.boxes.select(drawn),
            width=width,
            height=height,
            matching=matching,
            version=version,
            chosen=[chosen[place] for place in drawn.tolist()],
            choice_matching=labels.match_region_choices(card.options["choices"]),
        )

    def list_answers(self, prediction: Prediction, card: ModelCard) -> Boxes:
        """See `Learner.list_answers`: the headline boxes, and for each that is shown its choice.

        A choice is an answer at the place of its box. What is as probable as not stands at the
        threshold, where a box is as likely as not to be corrected.
        """
        boxes = super().list_answers(prediction, card)
        shown = np.isin(prediction.boxes.label, list(card.headline))
        chosen = [
            (place, name, probability)
            for place, names in enumerate(choose_for_boxes(prediction, card))
            if shown[place]
            for name, probability in names.items()
        ]
        if not chosen:
            return boxes
        places, names, probabilities = zip(*chosen, strict=True)
        sureness = np.clip(2 * np.array(probabilities) - 1, 0, 1)
        return Boxes(
            np.concatenate([boxes.xyxy, prediction.boxes.xyxy[list(places)]]),
            np.concatenate([boxes.label, names]),
            np.concatenate([boxes.confidence, card.threshold + sureness * (1 - card.threshold)]),
        )

    def train(self, job: TrainingJob, progress: Progress) -> Path:
        """See `training.train`."""
        from ml_backend.learners.detector_classifier.training import train

        return train(job, progress)

    def make_servable(self, weights: Path, folder: Path) -> None:
        """See `Learner.make_servable`: each part makes its own files."""
        unpack(weights, folder)
        detector, classifier = (folder / part for part in PARTS)
        DETECTOR.make_servable(detector / FILE_NAME, detector)
        CLASSIFIER.make_servable(classifier / FILE_NAME, classifier)

    def load(self, folder: Path, threads: int | None = None) -> DetectorClassifier:
        """See `Learner.load`."""
        return DetectorClassifier.load(folder, threads)

    def count(
        self, examples: Sequence[Example], predictions: Sequence[Prediction], card: ModelCard
    ) -> MatchCounts:
        """See `Learner.count`: the boxes by class, and one column more for those with a choice.

        So a version that only chooses better is better, and one that gains boxes by choosing
        worse is not.
        """
        boxes = super().count(examples, predictions, card)
        chosen = count_chosen(
            examples,
            list(map(_get_chosen, predictions)),
            threshold=card.threshold,
            headline=card.headline,
            several=takes_several(card),
        )
        return MatchCounts(
            (*boxes.classes, *chosen.classes),
            np.hstack([boxes.right, chosen.right]),
            np.hstack([boxes.wrong, chosen.wrong]),
            np.hstack([boxes.missed, chosen.missed]),
        )

    def evaluate(  # type: ignore[override]
        self, examples: Sequence[Example], predictions: Sequence[Prediction], card: ModelCard
    ) -> DetectorClassifierFigures:
        """See `Learner.evaluate`."""
        choices, with_choice = evaluate_chosen(
            examples,
            list(map(_get_chosen, predictions)),
            threshold=card.threshold,
            headline=card.headline,
            classes=card.options.get("choices", ()),
            several=takes_several(card),
        )
        boxes = super().evaluate(examples, predictions, card)
        return DetectorClassifierFigures(boxes, choices, with_choice)


def choose_for_boxes(prediction: Prediction, card: ModelCard) -> list[dict[str, float]]:
    """Choose the classes of each box, each with its probability; none where none was asked for."""
    several = takes_several(card)
    return [
        {name: choices[name] for name in choose_classes(choices, 0.5, several)}
        for choices in prediction.region_choices or ({},) * len(prediction.boxes)
    ]


def takes_several(card: ModelCard) -> bool:
    """Tell whether more than one class may be chosen of a box."""
    return bool(card.options.get("several"))


def _get_chosen(prediction: Prediction) -> ChosenBoxes:
    return ChosenBoxes(prediction.boxes, prediction.region_choices)


LEARNER = DetectorClassifierLearner()
