"""Out-of-fold predictions of a labelled folder: each image by a model that never saw its group."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ml_backend.dataset.example import Example
from ml_backend.dataset.folds import make_folds
from ml_backend.dataset.snapshot import Item
from ml_backend.learners.base import Prediction, Progress
from ml_backend.learners.kinds import find_learner, load_model
from ml_backend.learners.training_child import run_side_by_side
from ml_backend.learners.training_job import TrainingJob
from ml_backend.promotion.predict_examples import predict_examples

# As many as versions are judged with: each model learns from half of the images.
FOLDS = 2


def predict_out_of_fold(
    examples: Sequence[Example],
    kind: str,
    classes: Sequence[str],
    base: Path | None,
    workspace: Path,
    *,
    epochs: int | None = None,
    imgsz: int | None = None,
    progress: Progress = lambda step: None,
) -> tuple[list[tuple[Example, Prediction]], float]:
    """Train a model for each fold, and let it predict the images that it has not learned from.

    They learn as a model of all images would, at its pace. Folds are of whole groups, see
    `folds.make_folds`.

    Args:
        examples: Labelled ones, each of another image.
        kind: The learner.
        classes: What the models tell apart.
        base: What they start from; None for the learner's own start.
        workspace: The folder in which they are trained; nothing stays there.
        epochs: Passes over the images; the recipe's where None.
        imgsz: Longest side at the network, px; the recipe's where None.
        progress: Called with the fold and what its training tells, by one thread at a time.

    Returns:
        Each image that could be read, with its size, and the prediction; and the threshold of
        the models' cards (the mean).

    Raises:
        TrainingFailed: A training made no model, or there is only one image.
    """
    learner = find_learner(kind)
    items = [_to_item(number, example) for number, example in enumerate(examples)]
    folds = make_folds(items, items, FOLDS)
    answers: list[tuple[Example, Prediction]] = []
    thresholds = []
    workspace.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="out-of-fold-", dir=workspace) as folder:
        jobs = [
            TrainingJob(
                examples=[examples[item.task] for item in fold.learned],
                classes=tuple(classes),
                headline=learner.choose_headline(classes),
                base=base,
                out=Path(folder, str(number)),
                kind=kind,
                epochs=epochs,
                imgsz=imgsz,
                share=fold.share,
            )
            for number, fold in enumerate(folds, 1)
        ]

        def tell(place: int, step: dict[str, Any]) -> None:
            progress({"fold": place + 1, "folds": len(jobs), **step})

        trained = run_side_by_side(jobs, tell)
        for fold, training in zip(folds, trained, strict=True):
            model = load_model(training.result().parent)
            thresholds.append(model.card.threshold)
            kept, predictions, _ = predict_examples(
                model, [examples[item.task] for item in fold.judged]
            )
            answers += zip(kept, predictions, strict=True)
    return answers, sum(thresholds) / max(len(thresholds), 1)


def _to_item(number: int, example: Example) -> Item:
    """An example as folds are made of: its place in the list is the task."""
    rows = example.boxes.to_rows() if example.boxes else []
    return Item(
        task=number,
        annotation=0,
        updated="",
        image=str(example.image),
        image_hash=str(example.image),
        group=example.group,
        split="train",
        sampling_p=None,
        sampling_reason="",
        boxes=tuple(row[:5] for row in rows),
        choices=example.choices,
    )
