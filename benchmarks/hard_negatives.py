"""Does a detector learn from the boxes that annotators delete?

    uv run python benchmarks/hard_negatives.py [--seeds 0 1 2] [--tasks 12] [--epochs N]

Tiles of two samples that the starter never saw (beside the project) are corrected tasks: the
starter marks them with a low threshold, and what lies on nothing is deleted. Trained from the
starter twice, with the deleted boxes and without, all else alike; and once more beside them, how
far two trainings without them, of other seeds, lie apart. Compared: the confidence that is
left at the deleted places, the mitotic cells found in the same tiles, and both in the images
of the third sample.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from corrections_help import CELL, FLOOR, REAL, UNSEEN, taken, tiles
from starter import ready

from ml_backend.dataset.example import Example
from ml_backend.imaging.boxes import Boxes, compute_iou, compute_overlap_of_smaller
from ml_backend.imaging.decode import decode
from ml_backend.learners.detector.inference import Detector
from ml_backend.learners.training_child import run_in_child
from ml_backend.learners.training_job import TrainingJob
from ml_backend.registry.starters import find_starter_weights

SHOWN = 0.02  # the threshold at which the starter marks: low, so that much is deleted
SOMETHING = 0.5  # see dataset.snapshot
FOUND = 0.5  # IoU with a cell


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments.add_argument("--tasks", type=int, default=12)
    arguments.add_argument("--epochs", type=int)
    asked = arguments.parse_args()
    if not REAL.is_dir():
        sys.exit(f"the real images are not at {REAL}")
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        starter = Detector.load(ready(scratch))
        images = taken(scratch / "images", False)
        rows: dict[str, list[list[float]]] = {}
        for seed in asked.seeds:
            third = UNSEEN[seed % len(UNSEEN)]
            test = corrected(starter, [image for image in images if image.group == third])
            others = [image for image in images if image.group != third]
            tasks = corrected(
                starter, tiles(others, scratch / f"tiles-{seed}", seed)[: asked.tasks]
            )
            without = [replace(task, deleted=np.zeros((0, 4), np.float32)) for task in tasks]
            removed = sum(len(task.deleted) for task in tasks)
            cells = sum(int((t.boxes.label == CELL).sum()) for t in tasks if t.boxes is not None)
            print(f"seed {seed}: {len(tasks)} tasks with {cells} cells, {removed} boxes deleted")
            for which, learned in (("without", without), ("with", tasks)):
                out = scratch / f"{which}-{seed}"
                base = find_starter_weights("starter:mitosis")
                job = TrainingJob(
                    learned, (CELL, "Other"), (CELL,), base, out, epochs=asked.epochs, seed=seed
                )
                run_in_child(job, lambda line: None)
                detector = Detector.load(out)
                figures = [*measured(detector, tasks), *measured(detector, test)]
                rows.setdefault(which, []).append(figures)
                print(json.dumps({which: [round(figure, 3) for figure in figures]}), flush=True)
            figures = [*measured(starter, tasks), *measured(starter, test)]
            rows.setdefault("starter", []).append(figures)
    names = "confidence at deleted places, recall, false boxes an image, the same on the third"
    print(f"\n{names}: {', '.join(UNSEEN)}")
    for which, figures_ in rows.items():
        means = np.nanmean(figures_, axis=0)
        print(f"{which:10}", "  ".join(f"{value:.3f}" for value in means))


def corrected(detector: Detector, examples: Sequence[Example]) -> list[Example]:
    """With the boxes of a detector that somebody would have deleted: all that lie on nothing."""
    made = []
    drawn = detector.stream((decode(e.image) for e in examples), SHOWN)
    for example, boxes in zip(examples, drawn, strict=True):
        false = boxes.select(~on_something(boxes, example))
        made.append(replace(example, deleted=false.xyxy))
    return made


def on_something(boxes: Boxes, example: Example) -> np.ndarray:
    assert example.boxes is not None
    there = np.concatenate([example.boxes.xyxy, example.ignored])
    return compute_overlap_of_smaller(boxes.xyxy, there).max(axis=1, initial=0) >= SOMETHING


def measured(detector: Detector, examples: Sequence[Example]) -> list[float]:
    """Mean confidence at deleted places, share of cells found, false cells an image (both at the
    version's threshold)."""
    left: list[float] = []
    found = cells = false = 0
    drawn = detector.stream((decode(e.image) for e in examples), FLOOR)
    for example, boxes in zip(examples, drawn, strict=True):
        assert example.boxes is not None
        stray = boxes.select(~on_something(boxes, example))
        there = compute_overlap_of_smaller(example.deleted, stray.xyxy) >= SOMETHING
        left += (there * stray.confidence).max(axis=1, initial=0).tolist()
        sure = boxes.select(boxes.confidence >= detector.card.threshold)
        marks = sure.select(sure.label == CELL)
        truth = example.boxes.select(example.boxes.label == CELL)
        found += int((compute_iou(truth.xyxy, marks.xyxy).max(axis=1, initial=0) >= FOUND).sum())
        cells += len(truth)
        false += int((stray.confidence >= detector.card.threshold).sum())
    return [float(np.mean(left or [np.nan])), found / max(cells, 1), false / len(examples)]


if __name__ == "__main__":
    main()
