"""What the models of the folds are trained on, and how."""

from __future__ import annotations

from pathlib import Path

from ml_backend.dataset.folds import make_folds
from ml_backend.dataset.snapshot import Item
from ml_backend.learners.training_job import TrainingJob
from ml_backend.promotion.fold_jobs import make_fold_jobs


def make_item(number: int) -> Item:
    """A corrected task without a cell, an image of its own."""
    return Item(
        task=number,
        annotation=number,
        updated="",
        image=f"{number}.png",
        image_hash=f"{number}",
        group=f"sample {number}",
        split="train",
        sampling_p=None,
        sampling_reason="",
        boxes=(),
    )


def test_a_fold_is_told_which_share_of_the_whole_it_is(tmp_path: Path) -> None:
    """Sixteen tasks, of which eight are lent to judging, in two halves."""
    items = [make_item(number) for number in range(16)]
    whole = TrainingJob((), ("Cell",), ("Cell",), None, tmp_path / "whole", epochs=3)
    jobs = make_fold_jobs(make_folds(items, items[:8], 2), whole, tmp_path)
    assert [(len(job.examples), job.share) for job in jobs] == [(12, 0.75), (12, 0.75)]
    assert [job.out.name for job in jobs] == ["whole-fold-1", "whole-fold-2"]
    assert all((job.classes, job.epochs) == (("Cell",), 3) for job in jobs)
