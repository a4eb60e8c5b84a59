"""Do corrections help? The starter against what it becomes by learning from corrections.

    uv run python benchmarks/corrections_help.py [--seeds 5] [--tasks 10 20 40] [--picture FILE]

The samples that the starter never saw (beside the project) are taken two and one: tiles of
two are the tasks whose pre-annotations somebody corrects, the images of the third are other
images of the same laboratory, on which starter and trained version are compared. A seed
draws the tasks, and the third sample goes round. Trained as the worker trains: from the
starter, on the corrected tasks, with the product's recipe.

Three settings: the images as they were taken; the same under a second microscope, simulated
(smaller, blurred, darker, noisier); and, as taken, 20 tasks from one sample instead of
two. An edit is what a person would do to a pre-annotation: add a missed cell, delete a false
one, move a box that overlaps its cell by less than 0.75 (IoU).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from starter import ready
from tiles import renamed, shown

from ml_backend.dataset.example import Example
from ml_backend.dataset.folder import read_folder
from ml_backend.evaluation.metrics import evaluate
from ml_backend.imaging.boxes import compute_iou
from ml_backend.imaging.decode import decode
from ml_backend.learners.detector.inference import Detector
from ml_backend.learners.training_child import run_in_child
from ml_backend.learners.training_job import TrainingJob
from ml_backend.registry.starters import find_starter_weights

REAL = Path(__file__).parents[2] / "shared" / "data" / "plant_mitosis"
UNSEEN = ("Asa", "Os", "Ta")
TILE = (960, 720)
WELL_PLACED = 0.75
ONE_SAMPLE = 20  # tasks that every sample has: four tiles of five images
FLOOR = 0.01
CELL = "Mitotic cell"


class Outcome(NamedTuple):
    """edits: an image. f1: of mitotic cells, at the version's threshold. ap50: at any."""

    edits: float
    f1: float
    ap50: float


Results = dict[str, dict[int, list[Outcome]]]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--seeds", type=int, default=5)
    arguments.add_argument("--tasks", type=int, nargs="+", default=[10, 20, 40])
    arguments.add_argument("--picture", type=Path)
    asked = arguments.parse_args()
    if not REAL.is_dir():
        sys.exit(f"the real images are not at {REAL}")
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        starter = Detector.load(ready(scratch))
        results: Results = {}
        for setting in ("as taken", "second microscope", "one sample only"):
            at = results.setdefault(setting, {})
            images = taken(scratch / setting, setting == "second microscope")
            sizes = asked.tasks if setting != "one sample only" else [ONE_SAMPLE]
            for seed in range(asked.seeds):
                third = UNSEEN[seed % len(UNSEEN)]
                test = [image for image in images if image.group == third]
                others = [image for image in images if image.group != third]
                if setting == "one sample only":
                    first = others[0].group
                    others = [image for image in others if image.group == first]
                tasks = tiles(others, scratch / setting / f"tiles-{seed}", seed)
                at.setdefault(0, []).append(
                    print_outcome(setting, seed, third, 0, compare(starter, test))
                )
                for size in sizes:
                    if size > len(tasks):
                        print(f"{setting}: only {len(tasks)} tasks of two samples, not {size}")
                        continue
                    trained = learned(tasks[:size], scratch / f"{setting}-{seed}-{size}", seed)
                    outcome = print_outcome(setting, seed, third, size, compare(trained, test))
                    at.setdefault(size, []).append(outcome)
    table(results)
    if asked.picture:
        draw(results, asked.picture)


def taken(folder: Path, again: bool) -> list[Example]:
    """The images of the unseen samples; `again`: as another microscope would show them."""
    examples = [e for e in read_folder(REAL).examples if e.group in UNSEEN and e.boxes is not None]
    named = [replace(e, boxes=renamed(e.boxes)) for e in examples if e.boxes is not None]
    folder.mkdir(parents=True)
    if not again:
        return named
    rng = np.random.default_rng(0)
    scale = 0.7
    made = []
    for example in named:
        pixels = cv2.resize(decode(example.image), None, fx=scale, fy=scale)
        pixels = cv2.GaussianBlur(pixels, (0, 0), 1.2).astype(np.float32) * 0.5 + 12
        pixels += rng.normal(0, 5, pixels.shape[:2])[..., None]
        path = folder / f"{example.image.stem}.png"
        cv2.imwrite(str(path), np.clip(pixels, 0, 255).astype(np.uint8)[..., ::-1])
        assert example.boxes is not None
        boxes = replace(example.boxes, xyxy=example.boxes.xyxy * scale)
        made.append(replace(example, image=path, boxes=boxes, ignored=example.ignored * scale))
    return made


def tiles(images: Sequence[Example], folder: Path, seed: int) -> list[Example]:
    """Four tiles of every image, from its corners, in an order that the seed draws."""
    folder.mkdir(parents=True)
    made = []
    for image in images:
        pixels = decode(image.image)
        height, width = pixels.shape[:2]
        size = (min(TILE[0], width * 2 // 3), min(TILE[1], height * 2 // 3))
        for left in (0, width - size[0]):
            for top in (0, height - size[1]):
                path = folder / f"{image.image.stem}-{left}-{top}.png"
                tile = pixels[top : top + size[1], left : left + size[0], ::-1]
                cv2.imwrite(str(path), tile)
                made.append(shown(image, path, (left, top), size))
    order = np.random.default_rng(seed).permutation(len(made))
    return [made[i] for i in order]


def learned(tasks: Sequence[Example], out: Path, seed: int) -> Detector:
    job = TrainingJob(
        tasks, (CELL, "Other"), (CELL,), find_starter_weights("starter:mitosis"), out, seed=seed
    )
    run_in_child(job, lambda line: None)
    return Detector.load(out)


def compare(detector: Detector, test: Sequence[Example]) -> Outcome:
    drawn = list(detector.stream((decode(e.image) for e in test), FLOOR))
    threshold = detector.card.threshold
    figures = evaluate(test, drawn, threshold=threshold, headline=detector.card.headline)
    total = 0
    for example, boxes in zip(test, drawn, strict=True):
        assert example.boxes is not None
        cells = example.boxes.xyxy[example.boxes.label == CELL]
        marks = boxes.xyxy[(boxes.label == CELL) & (boxes.confidence >= threshold)]
        total += edits(cells, marks, example.ignored)
    return Outcome(total / len(test), figures.f1.value or 0.0, figures.ap50.value or 0.0)


def edits(cells: np.ndarray, marks: np.ndarray, ignored: np.ndarray) -> int:
    """What a person does to the marks (M, 4) until they are the cells (N, 4)."""
    if len(marks) and len(ignored):
        marks = marks[compute_iou(marks, ignored).max(axis=1) < 0.5]
    if not len(cells) or not len(marks):
        return len(cells) + len(marks)
    overlap = compute_iou(cells, marks)
    moved = matched = 0
    while (best := float(overlap.max())) >= 0.5:
        cell, mark = np.unravel_index(int(overlap.argmax()), overlap.shape)
        overlap[cell, :] = overlap[:, mark] = -1
        matched += 1
        moved += best < WELL_PLACED
    return len(cells) + len(marks) - 2 * matched + moved


def print_outcome(setting: str, seed: int, third: str, size: int, outcome: Outcome) -> Outcome:
    line = {"setting": setting, "seed": seed, "on": third, "tasks": size}
    figures = {name: round(value, 3) for name, value in outcome._asdict().items()}
    print(json.dumps({**line, **figures}), flush=True)
    return outcome


def table(results: Results) -> None:
    heads = "".join(f"{name:>24}" for name in ("edits an image", "F1", "AP50"))
    print(f"\n{'mean (least to most)':20}{'tasks':>6}{heads}   seeds")
    for setting, sizes in results.items():
        for size, outcomes in sorted(sizes.items()):
            means = "".join(
                f"{f'{np.mean(values):.2f} ({min(values):.2f} to {max(values):.2f})':>24}"
                for values in zip(*outcomes, strict=True)
            )
            print(f"{setting:20}{size or 'none':>6}{means}   {len(outcomes)}")


def draw(results: Results, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 3, figsize=(12, 3.8), layout="constrained")
    for which, name in enumerate(("edits an image", "F1, mitotic cells", "AP50, mitotic cells")):
        axis = axes[which]
        for setting, colour in (("as taken", "#0072b2"), ("second microscope", "#d55e00")):
            sizes = sorted(results[setting])
            seeds = np.array([[outcome[which] for outcome in results[setting][n]] for n in sizes])
            axis.plot(sizes, seeds, "-", color=colour, alpha=0.3, linewidth=1)
            axis.plot(sizes, seeds.mean(axis=1), "o-", color=colour, linewidth=2.5, label=setting)
        alone = [outcome[which] for outcome in results["one sample only"][ONE_SAMPLE]]
        axis.plot([ONE_SAMPLE], [np.mean(alone)], "D", color="#009e73", label="one sample only")
        axis.set_xlabel("corrected tasks (0: the starter)")
        axis.set_title(name, loc="left", fontsize=11)
        axis.set_ylim(bottom=0)
        axis.spines[["top", "right"]].set_visible(False)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
