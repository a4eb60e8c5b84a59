"""Does every later correction count? A project in phase contrast, played round by round.

    uv run python benchmarks/later_corrections.py [--rounds 3] [--batch 20] [--seeds 0]
        [--order queue|blind] [--mark-first] [--json FILE] [--picture FILE]

The starter has never seen phase contrast. Frames of six blocks of time (beside the project) are a
project's tasks; in each round the first of its queue are corrected: what lies on nothing is
deleted, what is missing is drawn. Then the product's own pipeline trains, judges and perhaps
promotes, and the champion marks and orders what is left. After every round the champion answers for
the frames of the other four blocks, which nobody corrects. Only Label Studio is missing.

With `--order blind` the frames are drawn by chance, and all of them train. With `--mark-first` a
round comes before the others: the ten frames that `cytoloop up` chooses where no shipped detector
knows the images, marked by hand. `--picture` draws F1 against the corrected frames, of all that the
file of `--json` holds; with `--seeds` and no number, of that alone.

Of each round: the champion's F1 at its threshold, F1 at the best threshold there is, AP50 and
calibration error on the other blocks; the candidate's F1 in its trial beside the champion's; wrong
boxes a frame; and the seconds of training, of the folds and of judging. *Clutter*: places where
boxes were deleted in five frames or more; in how many of the other blocks' frames there is a box
there.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ml_backend.active_learning.queue import QueuedTask, ReviewQueue
from ml_backend.active_learning.strategies.base import Candidate, Context
from ml_backend.active_learning.strategies.table import find_strategy
from ml_backend.dataset import snapshot as snapshots
from ml_backend.dataset.corrections import DeletedRegion
from ml_backend.dataset.example import Example
from ml_backend.dataset.folder import read_folder
from ml_backend.dataset.snapshot import Item
from ml_backend.dataset.split import assign, hash_to_unit
from ml_backend.evaluation.class_matches import compute_class_f1, count_matches
from ml_backend.imaging.boxes import Boxes, compute_iou, compute_overlap_of_smaller
from ml_backend.learners.base import Model, Prediction
from ml_backend.learners.kinds import find_learner, load_model
from ml_backend.learners.model_file import ModelCard
from ml_backend.promotion.predict_examples import predict_examples
from ml_backend.registry.resolve import resolve_model
from ml_backend.registry.versions import Registry
from ml_backend.retraining.pipeline import Pipeline
from ml_backend.settings import Settings
from ml_backend.state.projects import Project, Projects
from tasks.launcher.first_images import choose_to_mark

DATA = Path(__file__).parents[2] / "shared" / "data" / "phase_contrast"
CELL = "Mitotic cell"
CONFIG = f"""<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">
<Label value="{CELL}"/></RectangleLabels></View>"""
# Blocks of time that are judged, in turn by seed: early ones are nearly empty, late ones full.
JUDGED = ((1, 4, 6, 9), (0, 3, 7, 8), (2, 5, 6, 8), (1, 3, 5, 9), (0, 4, 7, 9))
PROJECT = 1
SHARE = 0.2  # of the tasks that is held out
SAME = 0.5  # see dataset.snapshot
OFTEN = 5


class Scene:
    """A project, its frames, and what was corrected so far."""

    def __init__(self, folder: Path, seed: int, order: str) -> None:
        self.settings = Settings(data_dir=folder)
        self.registry = Registry(self.settings.versions, self.settings.champions)
        projects = Projects(self.settings.projects_database)
        self.pipeline = Pipeline(self.settings, projects, self.registry)
        projects.connect(Project(PROJECT, "http://127.0.0.1:1", "", "Scene", CONFIG))
        starter = resolve_model("starter:mitosis", self.registry).name
        self.registry.promote(str(PROJECT), starter, by="benchmark", reason="start")
        self.order, self.random = order, np.random.default_rng(seed)
        self.waiting, self.judged = select_frames(seed)
        self.items: list[Item] = []
        self.images = self.settings.images / str(PROJECT)
        self.images.mkdir(parents=True)

    def load_champion(self) -> Model:
        name = self.registry.get_champion(str(PROJECT))
        assert name is not None
        return load_model(self.registry.get_folder(name))

    def mark_first(self) -> None:
        """Mark the frames that `cytoloop up` chooses where its detector knows none of them."""
        tasks = [
            {"id": place, "data": {"split": "holdout" if is_held_out(example) else "train"}}
            for place, example in enumerate(self.waiting)
        ]
        chosen = set(choose_to_mark(tasks))
        self.items += [self._correct(self.waiting[place], Boxes()) for place in sorted(chosen)]
        self.waiting = [e for place, e in enumerate(self.waiting) if place not in chosen]

    def correct(self, number: int) -> None:
        """Correct the next tasks of the queue."""
        model = self.load_champion()
        kept, predictions, _ = predict_examples(model, self.waiting)
        by_place = [self.waiting[i] for i in self._rank(kept, predictions, model.card)]
        shown = {e.image: p.boxes for e, p in zip(kept, predictions, strict=True)}
        for example in by_place[:number]:
            boxes = shown[example.image]
            self.items.append(
                self._correct(example, boxes.select(boxes.confidence >= model.card.threshold))
            )
        self.waiting = by_place[number:]

    def _rank(
        self, examples: Sequence[Example], predictions: Sequence[Prediction], card: ModelCard
    ) -> list[int]:
        if self.order == "blind":
            return [int(place) for place in self.random.permutation(len(examples))]
        learner = find_learner(card.kind)
        tasks = [
            QueuedTask(
                Candidate(example.image.name, learner.list_answers(prediction, card)),
                hash_to_unit(f"place {example.image.name}") if is_held_out(example) else None,
            )
            for example, prediction in zip(examples, predictions, strict=True)
        ]
        strategy = find_strategy(self.settings.strategy)
        queue = ReviewQueue(strategy, lambda scores: scores, lambda shown, seen: shown / seen)
        return [int(i) for i in np.argsort(queue.score(tasks, Context(card.threshold)))]

    def _correct(self, example: Example, shown: Boxes) -> Item:
        """What an annotator makes of the boxes: all cells, and what was deleted."""
        assert example.boxes is not None
        true = example.boxes
        deleted = [
            DeletedRegion(*(round(float(side), 2) for side in box), CELL, f"r{number}")
            for number, box in enumerate(find_deleted(shown.xyxy, true.xyxy))
        ]
        shutil.copyfile(example.image, self.images / example.image.name)
        number = len(self.items) + 1
        side = "holdout" if self.order == "queue" and is_held_out(example) else "train"
        return Item(
            task=number,
            annotation=number,
            updated="",
            image=example.image.name,
            image_hash=hashlib.sha256(example.image.read_bytes()).hexdigest(),
            group=f"file:{example.image.name}",
            split=side,
            sampling_p=None,
            sampling_reason="",
            boxes=tuple((*map(float, row[:4]), CELL) for row in true.to_rows()),
            deleted=tuple(deleted),
        )

    def learn(self) -> dict[str, Any]:
        """Train, judge and perhaps promote, as the worker does; with the seconds of each part."""
        snapshot = snapshots.build_snapshot(PROJECT, (CELL,), self.items, ())
        snapshots.save_snapshot(snapshot, self.settings.snapshots)
        times = [time.monotonic()]
        version = self.pipeline.train(snapshot)
        times.append(time.monotonic())
        opponent = self.pipeline.find_opponent(version)
        comparison = self.pipeline.open_comparison(version, snapshot, opponent)
        self.pipeline.judge_folds(comparison)
        times.append(time.monotonic())
        decision = self.pipeline.judge(comparison)
        if decision.promoted:
            self.pipeline.promote(version.name, PROJECT, decision.reasons, by="benchmark")
        times.append(time.monotonic())
        kept = self.registry.get(version.name)
        train, folds, judge = (round(float(seconds), 1) for seconds in np.diff(times))
        return {
            "tasks": len(self.items),
            "cells": sum(len(item.boxes) for item in self.items),
            "deleted": sum(len(item.deleted) for item in self.items),
            "promoted": decision.promoted,
            "trial": [round(kept.figures["f1"], 3), round(kept.decision["champion_f1"] or 0, 3)],
            "seconds": {"train": train, "folds": folds, "judge": judge},
        }

    def measure(self) -> dict[str, Any]:
        """Measure the champion on the frames of the judged blocks."""
        name = self.registry.get_champion(str(PROJECT))
        assert name is not None
        deleted = np.array([box[:4] for item in self.items for box in item.deleted]).reshape(-1, 4)
        return measure_champion(self.registry.get_folder(name), self.judged, find_clutter(deleted))


def find_deleted(shown: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Find which of the shown boxes, (N, 4), lie on no true one."""
    overlap = compute_overlap_of_smaller(shown, true).max(axis=1, initial=0)
    return shown[overlap < SAME]


def find_clutter(deleted: np.ndarray) -> list[np.ndarray]:
    """Find the places, (4,) each, at which boxes were deleted in OFTEN frames or more.

    Args:
        deleted: (N, 4) corners of deleted boxes, of all frames together.
    """
    places = []
    while len(deleted):
        same = compute_iou(deleted, deleted) >= SAME
        best = int(same.sum(axis=1).argmax())
        if same[best].sum() < OFTEN:
            break
        places.append(deleted[same[best]].mean(axis=0))
        deleted = deleted[~same[best]]
    return places


def select_frames(seed: int) -> tuple[list[Example], list[Example]]:
    """Select the frames of the project, and those of the judged blocks of time."""
    examples = [e for e in read_folder(DATA).examples if e.boxes is not None]
    blocks = sorted({example.group for example in examples})
    judged = {blocks[place] for place in JUDGED[seed % len(JUDGED)]}
    inside = [example.group in judged for example in examples]
    outside = [not is_judged for is_judged in inside]
    return list(compress(examples, outside)), list(compress(examples, inside))


def measure_champion(
    folder: Path, judged: Sequence[Example], clutter: Sequence[np.ndarray] = ()
) -> dict[str, Any]:
    """Measure a version on frames that nobody corrects; `clutter`: see `find_clutter`."""
    model = load_model(folder)
    kept, predictions, _ = predict_examples(model, judged)
    card, boxes = model.card, [prediction.boxes for prediction in predictions]
    figures = find_learner(card.kind).evaluate(kept, predictions, card).to_json()
    shown = [found.select(found.confidence >= card.threshold) for found in boxes]
    at_clutter = sum(has_box_at(found, place) for place in clutter for found in shown)
    return {
        "f1": round(figures["f1"] or 0, 3),
        "best_f1": round(find_best_f1(kept, boxes, card.headline), 3),
        "ap50": round(figures["ap50"] or 0, 3),
        "calibration_error": round(figures["calibration"]["error"] or 0, 3),
        "threshold": round(card.threshold, 3),
        "wrong_a_frame": round(count_wrong(kept, shown, card) / len(kept), 3),
        "clutter": [len(clutter), at_clutter, len(clutter) * len(shown)],
    }


def is_held_out(example: Example) -> bool:
    return assign(f"file:{example.image.name}", SHARE).side == "holdout"


def has_box_at(boxes: Boxes, place: np.ndarray) -> bool:
    return bool((compute_iou(boxes.xyxy, place[None]) >= SAME).any())


def find_best_f1(
    examples: Sequence[Example], boxes: Sequence[Boxes], headline: Sequence[str]
) -> float:
    once = np.ones((1, len(examples)))
    return max(
        float(
            compute_class_f1(
                count_matches(examples, boxes, threshold=threshold, headline=headline), once
            ).mean()
        )
        for threshold in np.arange(0.05, 0.95, 0.02)
    )


def count_wrong(examples: Sequence[Example], boxes: Sequence[Boxes], card: ModelCard) -> int:
    counts = count_matches(examples, boxes, threshold=card.threshold, headline=card.headline)
    return int(counts.wrong.sum())


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--batch", type=int, default=20)
    arguments.add_argument("--seeds", type=int, nargs="*", default=[0])
    arguments.add_argument("--order", choices=["queue", "blind"], default="queue")
    arguments.add_argument("--mark-first", action="store_true", help="ten chosen frames come first")
    arguments.add_argument("--json", type=Path, help="append one line a round to this file")
    arguments.add_argument("--picture", type=Path, help="draw F1 of all lines of --json, a PNG")
    asked = arguments.parse_args()
    if not DATA.is_dir():
        sys.exit(f"the frames are not at {DATA}")
    for seed in asked.seeds:
        with tempfile.TemporaryDirectory() as folder:
            scene = Scene(Path(folder), seed, asked.order)
            keep({"seed": seed, "tasks": 0, **scene.measure()}, asked.json)
            for number in range(asked.rounds + asked.mark_first):
                if asked.mark_first and number == 0:
                    scene.mark_first()
                else:
                    scene.correct(asked.batch)
                keep({"seed": seed, **scene.learn(), **scene.measure()}, asked.json)
    if asked.picture:
        lines = asked.json.read_text(encoding="utf-8").splitlines()
        draw([json.loads(line) for line in lines], asked.picture)


def keep(row: dict[str, Any], path: Path | None) -> None:
    line = json.dumps(row)
    print(line, flush=True)
    if path:
        with path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def draw(played: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw the champion's F1 against the corrected frames: a thin line a seed, dots the means."""
    figure = Figure(figsize=(6.4, 3.2), layout="constrained")
    axes = figure.subplots()
    for seed in sorted({row["seed"] for row in played}):
        rows = [row for row in played if row["seed"] == seed]
        axes.plot([r["tasks"] for r in rows], [r["f1"] for r in rows], color="0.7", linewidth=1)
    sizes = sorted({row["tasks"] for row in played})
    means = [float(np.mean([r["f1"] for r in played if r["tasks"] == size])) for size in sizes]
    axes.plot(sizes, means, "o-", color="#0072b2")
    for size, mean in zip(sizes, means, strict=True):
        axes.annotate(f"{mean:.2f}", (size, mean), (4, -12), textcoords="offset points")
    axes.set(
        xlabel="frames marked or corrected",
        ylabel="F1 on other frames",
        xticks=sizes,
        ylim=(-0.08, 1),
        title="Phase contrast, which the shipped detector does not know",
    )
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
