"""The trainings of the folds' models: like the candidate's, at its pace, but on fewer tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ml_backend.dataset import snapshot as snapshots
from ml_backend.dataset.folds import Fold
from ml_backend.learners.training_job import TrainingJob


def make_fold_jobs(folds: Sequence[Fold], job: TrainingJob, images: Path) -> list[TrainingJob]:
    """Make the trainings of the folds' models.

    They are known before the candidate is trained, and can run beside it; whoever judges makes
    the same ones, and finds them done.

    Args:
        folds: What each model learns from.
        job: The candidate's training.
        images: The folder of the project's fetched images.

    Returns:
        A job a fold, each with a folder of its own beside the candidate's.
    """
    return [
        replace(
            job,
            examples=[snapshots.to_example(item, images) for item in fold.learned],
            out=job.out.with_name(f"{job.out.name}-fold-{number}"),
            share=fold.share,
        )
        for number, fold in enumerate(folds, 1)
    ]
