"""The classifier as a learner: classes of whole images, from choices that annotators made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ml_backend.label_studio.labeling_config import LabelingConfig
from ml_backend.learners.base import ExportFailed, Progress
from ml_backend.learners.choices import ChoiceLearner
from ml_backend.learners.classifier.hyperparameters import RECIPE
from ml_backend.learners.classifier.inference import Classifier
from ml_backend.learners.model_file import CLASSIFIER, IR_FILES
from ml_backend.learners.training_job import TrainingJob
from ml_backend.system.child_module import ChildFailed, run_module


class ClassifierLearner(ChoiceLearner):
    """See `learners.base.Learner`."""

    kind = CLASSIFIER
    serving_files = IR_FILES
    recipe: Mapping[str, Any] = asdict(RECIPE)

    def can_learn(self, labels: LabelingConfig) -> bool:
        """Choices for the image, and no rectangles: those are the detector's."""
        return bool(labels.image_choices) and not labels.controls

    def train(self, job: TrainingJob, progress: Progress) -> Path:
        """See `training.train`."""
        from ml_backend.learners.classifier.training import train

        return train(job, progress)

    def make_servable(self, weights: Path, folder: Path) -> None:
        """Export in a process of its own, because it imports torch, which a server must not."""
        try:
            run_module("ml_backend.learners.classifier.export", weights, folder)
        except ChildFailed as error:
            raise ExportFailed(f"{weights} could not be made ready to serve: {error}") from error

    def load(self, folder: Path, threads: int | None = None) -> Classifier:
        """Load a version's folder."""
        return Classifier.load(folder, threads)


LEARNER = ClassifierLearner()
