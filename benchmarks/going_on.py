"""Does a training that goes on from an earlier version come to the same, and how much sooner?

    uv run python benchmarks/going_on.py [--seeds 0 1 2]

32 frames of phase contrast, drawn blindly from six blocks of time, of which a version has learned
16. Then all are learned, anew from the starter and from halfway between the two, each with the
models of its trial beside it, as the product does: two folds of the 16 new frames, and three.
After each the highest F1 and AP50 of the version on 40 frames of four other blocks, and the seconds
on the clock until it and the models of the trial were trained.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from later_corrections import CELL, DATA, measure_champion, select_frames

from ml_backend.learners.model_file import FILE_NAME
from ml_backend.learners.training_child import run_side_by_side
from ml_backend.learners.training_job import TrainingJob
from ml_backend.promotion.comparison_plan import FOLDS, FOLDS_AGAIN
from ml_backend.registry.starters import find_starter_weights

LEARNED, ALL = 16, 32


def add_folds(job: TrainingJob, folds: int) -> list[TrainingJob]:
    """The training, and those of models that each do without a part of the new frames."""
    jobs = [job]
    for fold in range(folds):
        left = [e for i, e in enumerate(job.examples) if i < LEARNED or i % folds != fold]
        name = f"{job.out.name}-fold-{fold}"
        share = len(left) / len(job.examples)
        jobs.append(replace(job, examples=left, share=share, out=job.out.with_name(name)))
    return jobs


def main() -> None:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    seeds = arguments.parse_args().seeds
    if not DATA.is_dir():
        sys.exit(f"the frames are not at {DATA}")
    base = find_starter_weights("starter:mitosis")
    print("| seed | training | highest F1 | AP50 | seconds |")
    print("| --- | --- | --- | --- | --- |")
    for seed in seeds:
        project, judged = select_frames(seed)
        order = np.random.default_rng(seed).permutation(len(project))[:ALL]
        frames = [project[i] for i in order]
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            first = TrainingJob(frames[:LEARNED], (CELL,), (CELL,), base, folder / "first")
            anew = replace(first, examples=frames, out=folder / "anew")
            again = replace(anew, earlier=first.out / FILE_NAME, out=folder / "going-on")
            for job, folds in ((first, 0), (anew, FOLDS), (again, FOLDS_AGAIN)):
                begun = time.monotonic()
                for trained in run_side_by_side(add_folds(job, folds), lambda place, step: None):
                    trained.result()
                seconds = time.monotonic() - begun
                found = measure_champion(job.out, judged)
                figures = f"{found['best_f1']:.3f} | {found['ap50']:.3f} | {seconds:.0f}"
                print(f"| {seed} | {job.out.name}, {folds} folds | {figures} |", flush=True)


if __name__ == "__main__":
    main()
