"""Training both parts on one project: the boxes, and what was chosen of each."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from ml_backend.learners.base import Progress
from ml_backend.learners.detector.training import train as train_detector
from ml_backend.learners.detector_classifier.parts import PARTS, pack, unpack
from ml_backend.learners.model_file import (
    DETECTOR,
    DETECTOR_CLASSIFIER,
    FILE_NAME,
    REGION_CLASSIFIER,
    read_card,
)
from ml_backend.learners.region_classifier.training import name_by_choice
from ml_backend.learners.region_classifier.training import train as train_classifier
from ml_backend.learners.training_job import TrainingJob


def train(job: TrainingJob, progress: Progress) -> Path:
    """Train in this process; the path of the weights, beside which the folders of the parts lie.

    While fewer than two choices were made of boxes there is nothing to tell apart: the version is
    then a detector alone, and its card says so.

    Raises:
        TrainingFailed: There is nothing to train on or no way on; one line says why.
        TrainingInterrupted: Memory ran out.
    """
    chosen = {
        name for example in job.examples for names in example.region_choices for name in names
    }
    with tempfile.TemporaryDirectory() as folder:
        base = _find_detector(job.base, Path(folder) / "base")
        earlier = _find_detector(job.earlier, Path(folder) / "earlier")
        boxes = replace(job, base=base, earlier=earlier, kind=DETECTOR)
        if len(chosen) < 2:
            return train_detector(boxes, progress)
        detector, classifier = (job.out / part for part in PARTS)
        train_detector(replace(boxes, out=detector), progress)
    classes = tuple(sorted(chosen))
    crops = replace(
        job,
        classes=classes,
        headline=classes,
        base=None,
        earlier=None,
        imgsz=None,  # the asked size is the whole image's
        kind=REGION_CLASSIFIER,
        out=classifier,
    )
    train_classifier(crops, progress, name_by_choice)
    return pack(job.out)


def _find_detector(base: Path | None, folder: Path) -> Path | None:
    """The detector to start from; that of a base of two parts is written into the folder."""
    if base is None or base.suffix != ".safetensors" or not base.exists():
        return base
    if read_card(base).kind != DETECTOR_CLASSIFIER:
        return base
    unpack(base, folder)
    return folder / DETECTOR / FILE_NAME
