"""Training on boxes: their crops and what each is called."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ml_backend.dataset.example import Example
from ml_backend.imaging.crops import cut_square
from ml_backend.imaging.decode import decode
from ml_backend.learners.base import Progress, TrainingFailed
from ml_backend.learners.classifier.training import Sample, learn
from ml_backend.learners.model_file import REGION_CLASSIFIER
from ml_backend.learners.training_job import TrainingJob

# What each box of an example is called, in their order; () for a box that nobody named.
NameBoxes = Callable[[Example], Sequence[tuple[str, ...]]]


def name_by_label(example: Example) -> list[tuple[str, ...]]:
    """Call each box by its label."""
    return [] if example.boxes is None else [(str(name),) for name in example.boxes.label]


def name_by_choice(example: Example) -> list[tuple[str, ...]]:
    """Call each box by what was chosen for it."""
    return list(example.region_choices)


def train(job: TrainingJob, progress: Progress, name_boxes: NameBoxes = name_by_label) -> Path:
    """Train in this process; the path of the weights, beside which the IR lies.

    Args:
        job: What to train.
        progress: Also told which images cannot be read; those are left out.
        name_boxes: What the boxes are called.

    Raises:
        TrainingFailed: There is nothing to train on, or a single class.
        TrainingInterrupted: Memory ran out.
    """
    marked = [example for example in job.examples if any(name_boxes(example))]
    samples = list(cut_samples(marked, name_boxes, progress))
    if not samples:
        raise TrainingFailed(
            f"none of the {len(marked)} images with boxes can be read; see the reasons above"
            if marked
            else "no box is named yet; correct and submit some tasks first"
        )
    return learn(samples, job, REGION_CLASSIFIER, progress)


def cut_samples(
    examples: Sequence[Example], name_boxes: NameBoxes, progress: Progress
) -> Iterator[Sample]:
    """Cut out the named boxes of each example."""
    for example in examples:
        try:
            pixels = decode(example.image)
        except (ValueError, OSError) as error:
            progress({"skipped": str(example.image), "reason": str(error)})
            continue
        assert example.boxes is not None  # else none of them would have a name
        for box, names in zip(example.boxes.xyxy, name_boxes(example), strict=True):
            if names:
                yield Sample(cut_square(pixels, box), names, str(example.image), example.group)
