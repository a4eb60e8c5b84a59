"""An image classifier against a detector on the same question: are there dividing cells?

    uv run python benchmarks/image_labels.py --fold 0 --images 15 40 --answers answers.json
    uv run python benchmarks/image_labels.py --answers answers.json

The 60 plant images are split by sample into three folds. Of the images of two of them some are
drawn by lot, the same for both: the detector learns their boxes from the COCO tensors, the
classifier what they, or 640 × 480 tiles cut from them, show. Both answer for the images of the
third fold, and for tiles cut from those, most of which hold no dividing cell; what a detector's
boxes say of an image is `evaluation.derived_choices`. A run adds its answers to the file; without
--fold the file is judged: intervals over samples, and the difference of the two, paired.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from plant_mitosis import DATA, cut, folds

from ml_backend.dataset.example import Example
from ml_backend.dataset.folder import read_folder
from ml_backend.evaluation.classification import evaluate_choices
from ml_backend.evaluation.derived_choices import compare_choices, derive_choices
from ml_backend.label_studio.class_names import choose_headline
from ml_backend.learners.base import Model, Picture, Prediction
from ml_backend.learners.kinds import load_model
from ml_backend.learners.model_file import CLASSIFIER, DETECTOR
from ml_backend.learners.training_child import run_in_child
from ml_backend.learners.training_job import TrainingJob

CLASSES = ("Chromosomes", "Others")
FOLDS = 3


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--fold", type=int, choices=range(FOLDS))
    options.add_argument("--images", type=int, nargs="+", default=[15, 40])
    options.add_argument("--answers", type=Path, required=True)
    asked = options.parse_args()
    if not DATA.is_dir():
        sys.exit(f"the real images are not at {DATA}")
    rows = json.loads(asked.answers.read_text()) if asked.answers.exists() else []
    if asked.fold is None:
        judge(rows)
        return
    found = read_folder(DATA / "plant_mitosis")
    for number in asked.images:
        started = time.perf_counter()
        rows.extend(run(list(found.examples), found.classes, asked.fold, number))
        asked.answers.write_text(json.dumps(rows))
        seconds = time.perf_counter() - started
        print(f"fold {asked.fold}, {number} images: {seconds:.0f} s", flush=True)


def run(
    examples: list[Example], classes: Sequence[str], fold: int, number: int
) -> Iterator[dict[str, Any]]:
    """Train all on so many images and let them answer for the held-out ones."""
    held = list(folds(examples, FOLDS, seed=0))[fold]
    pool = [example for example in examples if example.group not in held]
    chosen = np.random.default_rng(fold).permutation(len(pool))[:number]
    learned = [name_image(pool[place]) for place in chosen]
    test = [name_image(example) for example in examples if example.group in held]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        tiles, test_tiles = (write_tiles(part, folder / name) for part, name in
                             ((learned, "learned"), (test, "test")))  # fmt: skip
        kinds = [
            ("detector", DETECTOR, learned, classes),
            ("classifier of images", CLASSIFIER, learned, CLASSES),
            ("classifier of tiles", CLASSIFIER, tiles, CLASSES),
        ]
        for name, kind, material, names in kinds:
            if kind == CLASSIFIER and len({example.choices for example in material}) < 2:
                print(f"  {name}: all {number} are of one class, which teaches nothing", flush=True)
                continue
            model = train(kind, material, names, folder / name)
            for what, judged in (("images", test), ("tiles", test_tiles)):
                for example, answer in zip(judged, ask(model, judged), strict=True):
                    assert example.choices is not None
                    yield {
                        "number": number, "model": name, "of": what, "group": example.group,
                        "truth": example.choices[0], "answer": answer,
                    }  # fmt: skip


def name_image(example: Example) -> Example:
    """The image with its truth as a choice."""
    return replace(example, choices=(CLASSES[0] if example.image_label else CLASSES[1],))


def write_tiles(examples: Sequence[Example], folder: Path) -> list[Example]:
    """Tiles of the images, as files."""
    folder.mkdir()
    written = []
    for number, (tile, pixels) in enumerate(zip(*cut(list(examples)), strict=True)):
        path = folder / f"{number}.png"
        cv2.imwrite(str(path), pixels[..., ::-1])
        written.append(name_image(replace(tile, image=path)))
    return written


def train(kind: str, learned: Sequence[Example], classes: Sequence[str], out: Path) -> Model:
    """A version that learned these, as it would serve."""
    base = DATA / "weights" / "yolov5n_coco_fp16.npz" if kind == DETECTOR else None
    headline = choose_headline(classes) if kind == DETECTOR else tuple(classes)
    job = TrainingJob(learned, tuple(classes), headline, base, out, kind=kind)
    run_in_child(job, lambda step: None)
    return load_model(out)


def ask(model: Model, examples: Sequence[Example]) -> Iterator[dict[str, float]]:
    """What the images are called, with probabilities."""
    pictures = (Picture(read_pixels(example)) for example in examples)
    for prediction in model.predict(pictures, 0.01):
        yield derive(model, prediction)


def derive(model: Model, prediction: Prediction) -> dict[str, float]:
    if model.card.kind == DETECTOR:
        return derive_choices(prediction.boxes, CLASSES, model.card.threshold)
    return dict(prediction.choices)


def read_pixels(example: Example) -> np.ndarray:
    pixels = cv2.imread(str(example.image))
    assert pixels is not None
    return pixels[..., ::-1].copy()


def judge(rows: list[dict[str, Any]]) -> None:
    """Print the figures of the answers, and by how much the detector is better.

    A classifier is compared on the folds in which it learned anything: the drawn images of some
    folds all hold dividing cells.
    """
    for what in ("images", "tiles"):
        for number in sorted({row["number"] for row in rows}):
            mine = [row for row in rows if (row["of"], row["number"]) == (what, number)]
            for name in dict.fromkeys(row["model"] for row in mine):
                side = [row for row in mine if row["model"] == name]
                truth, answers, groups = list_answers(side)
                often = max(truth.count(name) for name in CLASSES) / len(truth)
                print(
                    f"\n{len(truth)} {what}, {number} learned from, {name} "
                    f"(most frequent class {often:.3f})"
                )
                figures = evaluate_choices(
                    [[name] for name in truth], answers, groups, classes=CLASSES
                ).to_json()
                for figure in ("accuracy", "balanced_accuracy"):
                    limits = interval(figures[f"{figure}_interval"])
                    print(f"  {figure} {figures[figure]:.3f} {limits}")
                if name != "detector":
                    other = [row for row in mine if row["model"] == "detector"]
                    first = list_answers([row for row in other if row["group"] in set(groups)])[1]
                    gap = compare_choices(truth, first, answers, groups).to_json()
                    print(
                        f"  detector better by {gap['balanced_accuracy']:+.3f} balanced "
                        f"{interval(gap['balanced_accuracy_interval'])}, {gap['accuracy']:+.3f} "
                        f"accuracy {interval(gap['accuracy_interval'])}"
                    )


def list_answers(
    rows: Sequence[dict[str, Any]],
) -> tuple[list[str], list[dict[str, float]], list[str]]:
    """Truth, answer and group of each row."""
    return (
        [row["truth"] for row in rows],
        [row["answer"] for row in rows],
        [row["group"] for row in rows],
    )


def interval(limits: list[float] | None) -> str:
    return f"({limits[0]:.3f} to {limits[1]:.3f})" if limits else ""


if __name__ == "__main__":
    main()
