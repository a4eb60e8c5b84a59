"""What a training on real images is worth on samples that it has not seen.

    uv run python benchmarks/plant_mitosis.py [--repeats 1] [--folds 12] [--epochs N] [--plain]

The 60 images of 12 plant samples beside the project are split so that no sample is on both
sides, every sample is held out once a repeat, and the recipe is trained from the COCO
tensors for every split. What the artefact that would serve says of the held-out images is
pooled and judged: whole images, boxes, and 640 × 480 tiles cut from the images, of which
most hold no dividing cell. Intervals are over samples. With `--plain`, every split is also
learned by a plain fine-tune of ultralytics' (`plain.py`), which is judged in the same way.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from plain import Plain

from ml_backend.dataset.example import Example
from ml_backend.dataset.folder import read_folder
from ml_backend.evaluation.metrics import DetectionFigures, evaluate
from ml_backend.imaging.boxes import Boxes
from ml_backend.imaging.decode import decode
from ml_backend.label_studio.class_names import choose_headline, is_clutter
from ml_backend.learners.detector.inference import Detector
from ml_backend.learners.model_file import ModelCard
from ml_backend.learners.training_child import run_in_child
from ml_backend.learners.training_job import TrainingJob
from ml_backend.promotion.predict_examples import FLOOR

DATA = Path(__file__).parents[2] / "shared" / "data"
TILE = (480, 640)  # height, width
WHOLE = 0.5  # a tile that shows at least this share of a mitotic cell is positive,
TRACE = 0.05  # one that shows no more than this of any is negative, others are left out

KNOWN = {  # the data's README, on 40 other images of mostly other samples, 7 minutes
    "image_accuracy": 0.95,
    "ap50": 0.945,
    "ap50_95": 0.40,
}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--repeats", type=int, default=1)
    arguments.add_argument("--folds", type=int, default=12)
    arguments.add_argument("--epochs", type=int)
    arguments.add_argument("--plain", action="store_true")
    arguments.add_argument("--base", type=Path, default=DATA / "weights/yolov5n_coco_fp16.npz")
    asked = arguments.parse_args()
    if not DATA.is_dir():
        sys.exit(f"the real images are not at {DATA}")
    found = read_folder(DATA / "plant_mitosis")
    ours, plain = Answers(), Answers()
    for repeat in range(asked.repeats):
        for fold, held in enumerate(folds(found.examples, asked.folds, seed=repeat)):
            learned = [e for e in found.examples if e.group not in held]
            test = [e for e in found.examples if e.group in held]
            print(
                f"repeat {repeat + 1} fold {fold + 1}: {len(learned)} images, "
                f"held out {', '.join(sorted(held))}",
                flush=True,
            )
            with tempfile.TemporaryDirectory() as folder:
                job = TrainingJob(
                    examples=learned,
                    classes=found.classes,
                    headline=choose_headline(found.classes),
                    base=asked.base,
                    epochs=asked.epochs,
                    out=Path(folder),
                    seed=repeat,
                )
                started = time.perf_counter()
                run_in_child(job, lambda line: None)
                detector = Detector.load(job.out)
                ours.add("recipe", detector.card, test, detector.stream, started)
            if asked.plain:
                with tempfile.TemporaryDirectory() as folder:
                    started = time.perf_counter()
                    other = Plain(learned, found.classes, asked.base, Path(folder))
                    plain.add("plain fine-tune", detector.card, test, other.predict, started)
    print(f"\nwhole images, {asked.repeats} × {asked.folds} splits")
    card = detector.card
    table(ours.of_images(card), plain.of_images(card) if asked.plain else None, KNOWN)
    print(f"\n{TILE[1]} × {TILE[0]} tiles of the same images")
    table(ours.of_tiles(card), plain.of_tiles(card) if asked.plain else None, {})


# Boxes from a confidence on of (H, W, 3) RGB images.
Answer = Callable[[list[np.ndarray], float], Iterable[Boxes]]


@dataclass
class Answers:
    """What is said of images that were held out, and of tiles cut from them."""

    images: list[Example] = field(default_factory=list)
    boxes: list[Boxes] = field(default_factory=list)
    tiles: list[Example] = field(default_factory=list)
    tile_boxes: list[Boxes] = field(default_factory=list)

    def add(
        self, name: str, card: ModelCard, test: list[Example], answer: Answer, started: float
    ) -> None:
        """started: when its training was, by time.perf_counter()."""
        minutes = (time.perf_counter() - started) / 60
        drawn = list(answer([decode(e.image) for e in test], FLOOR))
        ap50 = judge(card, test, drawn).ap50.value
        print(f"  {name:16} {minutes:5.1f} min, AP50 {ap50:.3f}", flush=True)
        self.images += test
        self.boxes += drawn
        tiles, pixels = cut(test)
        self.tiles += tiles
        self.tile_boxes += answer(pixels, FLOOR)

    def of_images(self, card: ModelCard) -> DetectionFigures:
        return judge(card, self.images, self.boxes)

    def of_tiles(self, card: ModelCard) -> DetectionFigures:
        return judge(card, self.tiles, self.tile_boxes)


def judge(card: ModelCard, examples: list[Example], boxes: list[Boxes]) -> DetectionFigures:
    """The figures at the card's own threshold."""
    return evaluate(examples, boxes, threshold=card.threshold, headline=card.headline)


def folds(examples: list[Example], number: int, seed: int) -> list[set[str]]:
    """The groups of each fold, so that every fold holds about as many images."""
    groups, sizes = np.unique([e.group for e in examples], return_counts=True)
    order = np.random.default_rng(seed).permutation(len(groups))
    parts: list[set[str]] = [set() for _ in range(number)]
    counts = [0] * number
    for index in order:
        smallest = int(np.argmin(counts))
        parts[smallest].add(str(groups[index]))
        counts[smallest] += int(sizes[index])
    return parts


def cut(examples: list[Example]) -> tuple[list[Example], list[np.ndarray]]:
    """Tiles with what they show, and their pixels; those that show a part only are left out."""
    tiles, pixels = [], []
    for example in examples:
        assert example.boxes is not None
        image = decode(example.image)
        wanted = ~np.array([is_clutter(str(name)) for name in example.boxes.label], bool)
        for top, left in corners(image.shape[:2]):
            window = np.array([left, top, left + TILE[1], top + TILE[0]])
            seen = shares(example.boxes.xyxy[wanted], window)
            doubtful = shares(example.ignored, window)
            positive = bool((seen >= WHOLE).any())
            if not positive and ((seen > TRACE).any() or (doubtful > 0).any()):
                continue
            tiles.append(replace(example, boxes=None, image_label=positive))
            pixels.append(image[top : top + TILE[0], left : left + TILE[1]])
    return tiles, pixels


def corners(size: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """Top and left of 3 × 3 tiles that reach every edge of an image (height, width)."""
    for top in np.linspace(0, max(size[0] - TILE[0], 0), 3).round().astype(int):
        for left in np.linspace(0, max(size[1] - TILE[1], 0), 3).round().astype(int):
            yield int(top), int(left)


def shares(xyxy: np.ndarray, window: np.ndarray) -> np.ndarray:
    """The share of each box (N, 4) that lies in the window (4,)."""
    low, high = np.maximum(xyxy[:, :2], window[:2]), np.minimum(xyxy[:, 2:], window[2:])
    area = (xyxy[:, 2:] - xyxy[:, :2]).prod(axis=1)
    return np.clip(high - low, 0, None).prod(axis=1) / np.maximum(area, 1e-9)


def table(ours: DetectionFigures, plain: DetectionFigures | None, known: dict[str, float]) -> None:
    sides = [("recipe", ours.to_json())] + ([("plain fine-tune", plain.to_json())] if plain else [])
    names = ["image_accuracy", "always_yes", "image_sensitivity", "image_specificity"]
    names += ["image_sensitivity_at_specificity", "f1", "ap50", "ap50_95"]
    print("".join([f"  {'':34}", *(f"{side:26}" for side, _ in sides)]))
    for name in names:
        if sides[0][1][name] is None:
            continue
        shown = [f"{_in_words(values, name):26}" for _, values in sides]
        beside = f"other images, plain: {known[name]:.3f}" if name in known else ""
        print("".join([f"  {name:34}", *shown, beside]))
    for side, values in sides:
        for name, rates in values["classes"].items():
            print(f"  {side}, {name}:", json.dumps({k: _short(v) for k, v in rates.items()}))
    print(f"  {ours.images} images of {ours.groups} samples, threshold {ours.threshold}")


def _in_words(values: dict[str, Any], name: str) -> str:
    low, high = values[f"{name}_interval"] or (None, None)
    return f"{values[name]:.3f}" + (f" ({low:.3f} to {high:.3f})" if low is not None else "")


def _short(value: object) -> object:
    return round(value, 3) if isinstance(value, float) else value


if __name__ == "__main__":
    main()
