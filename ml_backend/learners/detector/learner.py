"""The detector as a learner: boxes of objects, from boxes that annotators drew."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from ml_backend.dataset.example import Example
from ml_backend.evaluation.calibration import fit_platt_scaling
from ml_backend.evaluation.class_matches import MatchCounts, count_matches, match_classes
from ml_backend.evaluation.metrics import DetectionFigures, evaluate
from ml_backend.evaluation.thresholds import choose_threshold
from ml_backend.imaging.boxes import Boxes
from ml_backend.label_studio.class_names import choose_headline
from ml_backend.label_studio.labeling_config import ClassMatching, LabelingConfig, RectangleControl
from ml_backend.learners.base import ExportFailed, Picture, Prediction, Progress
from ml_backend.learners.detector.features import describe_boxes
from ml_backend.learners.detector.hyperparameters import RECIPE
from ml_backend.learners.detector.inference import Detector
from ml_backend.learners.model_file import DETECTOR, IR_FILES, ModelCard
from ml_backend.learners.training_job import TrainingJob
from ml_backend.system.child_module import ChildFailed, run_module

# Boxes below this confidence, of which there are many and next to none right, would decide the
# calibration where nobody looks at it.
_FITTED_FROM = 0.05


def find_drawn(prediction: Prediction, card: ModelCard, shown: frozenset[str]) -> np.ndarray:
    """Find the places of the boxes that are confident enough, and of a class that is shown."""
    boxes = prediction.boxes
    return np.flatnonzero((boxes.confidence >= card.threshold) & np.isin(boxes.label, list(shown)))


class DetectorLearner:
    """See `learners.base.Learner`."""

    kind = DETECTOR
    default_base = "starter:mitosis"
    serving_files: Sequence[str] = IR_FILES
    recipe: Mapping[str, Any] = asdict(RECIPE)

    def choose_headline(self, classes: Sequence[str]) -> tuple[str, ...]:
        """See `Learner.choose_headline`: all but clutter."""
        return choose_headline(classes)

    def match_labels(
        self, card: ModelCard, labels: LabelingConfig
    ) -> ClassMatching[RectangleControl] | None:
        """See `Learner.match_labels`."""
        matching = labels.match_classes(card.classes)
        return matching if any(name in matching.mapping for name in card.headline) else None

    def can_learn(self, labels: LabelingConfig) -> bool:
        """See `Learner.can_learn`: there must be a control that draws rectangles."""
        return bool(labels.controls)

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
        drawn = prediction.boxes.select(find_drawn(prediction, card, shown))
        width, height = prediction.size
        return labels.write_regions(
            drawn, width=width, height=height, matching=matching, version=version
        )

    def list_confident(self, prediction: Prediction, card: ModelCard) -> list[str]:
        """See `Learner.list_confident`."""
        boxes = prediction.boxes
        return [str(name) for name in boxes.label[boxes.confidence >= card.threshold]]

    def list_answers(self, prediction: Prediction, card: ModelCard) -> Boxes:
        """See `Learner.list_answers`: the boxes of headline classes."""
        boxes = prediction.boxes
        return boxes.select(np.isin(boxes.label, list(card.headline)))

    def read_truth(self, example: Example) -> tuple[str, ...] | None:
        """See `Learner.read_truth`."""
        return None if example.boxes is None else tuple(map(str, example.boxes.label))

    def train(self, job: TrainingJob, progress: Progress) -> Path:
        """See `Learner.train`."""
        from ml_backend.learners.detector.training import train

        return train(job, progress)

    def make_servable(self, weights: Path, folder: Path) -> None:
        """See `Learner.make_servable`."""
        # A process of its own: the export imports torch, which a server must not.
        try:
            run_module("ml_backend.learners.detector.export", weights, folder)
        except ChildFailed as error:
            raise ExportFailed(f"{weights} could not be made ready to serve: {error}") from error

    def load(self, folder: Path, threads: int | None = None) -> Detector:
        """See `Learner.load`."""
        return Detector.load(folder, threads)

    def describe(
        self, folder: Path, pictures: Iterable[Picture], boxes: Iterable[Boxes]
    ) -> Iterator[np.ndarray]:
        """See `Learner.describe`."""
        return describe_boxes(folder, pictures, boxes)

    def count(
        self, examples: Sequence[Example], predictions: Sequence[Prediction], card: ModelCard
    ) -> MatchCounts:
        """See `Learner.count`."""
        boxes = [prediction.boxes for prediction in predictions]
        return count_matches(examples, boxes, threshold=card.threshold, headline=card.headline)

    def tune(
        self, card: ModelCard, examples: Sequence[Example], predictions: Sequence[Prediction]
    ) -> ModelCard:
        """See `Learner.tune`: Platt scaling, then the threshold, `choose_threshold`."""
        images = [
            (e, prediction.boxes) for e, prediction in zip(examples, predictions, strict=True)
        ]
        by_class = match_classes(images, np.zeros(len(images), int), 1, card.headline)
        matches = [by_class[name] for name in card.headline]
        counted = [~m.ignored[0] & (m.confidence >= _FITTED_FROM) for m in matches]
        scaling = fit_platt_scaling(
            np.concatenate([m.confidence[mask] for m, mask in zip(matches, counted, strict=True)]),
            np.concatenate([m.hit[0][mask] for m, mask in zip(matches, counted, strict=True)]),
        )
        scaled = [replace(m, confidence=scaling.scale(m.confidence)) for m in matches]
        return replace(card, calibration=scaling, threshold=choose_threshold(scaled))

    def evaluate(
        self, examples: Sequence[Example], predictions: Sequence[Prediction], card: ModelCard
    ) -> DetectionFigures:
        """See `Learner.evaluate`."""
        boxes = [prediction.boxes for prediction in predictions]
        return evaluate(examples, boxes, threshold=card.threshold, headline=card.headline)


LEARNER = DetectorLearner()
