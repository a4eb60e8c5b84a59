"""What a training costs beside a bare one of ultralytics on the same images.

    uv run python benchmarks/training_cost.py [--rounds 3] [--epochs 4]

Both start from the weights of the shipped starter, with its head, and see the real images
beside the project at 512 px, 8 a step, on the CPU, each in a process of its own, one after the
other in turn. Bare is ultralytics' DetectionTrainer on the same boxes in its own layout with its
own defaults (optimiser, augmentation, loader processes), without validation, plots and
checkpoints; it closes its mosaics for the last quarter of the passes, as it would in a training of
40. The clock starts when all is imported and ends with the last pass: reading the images
counts, on both sides, exporting does not. Time is also counted on all cores together.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from plain import trainer

from ml_backend.dataset.folder import read_folder
from ml_backend.label_studio.class_names import choose_headline
from ml_backend.learners.detector.hyperparameters import RECIPE
from ml_backend.registry.starters import find_starter_weights

REAL = Path(__file__).parents[2] / "shared" / "data" / "plant_mitosis"
ASKED = 1.05  # ours to bare, an image shown


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--epochs", type=int, default=4)
    arguments.add_argument("--only", choices=list(SIDES), help=argparse.SUPPRESS)
    asked = arguments.parse_args()
    if not REAL.is_dir():
        sys.exit(f"the real images are not at {REAL}")
    if asked.only:
        print(json.dumps(SIDES[asked.only](asked.epochs)))
        return
    print(f"{asked.epochs} passes over {len(labelled())} images, {os.cpu_count()} cores")
    cost: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    for _ in range(asked.rounds):
        for side, found in cost.items():
            command = [sys.executable, __file__, "--only", side, "--epochs", str(asked.epochs)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            found.append(json.loads(done.stdout.splitlines()[-1]))
            print(f"  {side:5} {json.dumps(found[-1])}", flush=True)
    print(f"{'':24}{'ours':>8}{'bare':>8}{'ratio':>8}")
    for what in ("ms_an_image", "cpu_ms_an_image"):
        ours, bare = (median(figures[what] for figures in cost[side]) for side in ("ours", "bare"))
        print(f"{what:24}{ours:8.1f}{bare:8.1f}{ours / bare:8.2f}   asked: at most {ASKED}")


def labelled() -> list[Any]:
    return [example for example in read_folder(REAL).examples if example.boxes is not None]


def ours(epochs: int) -> dict[str, float]:
    import ml_backend.learners.detector.export
    import ml_backend.learners.detector.train_loop  # noqa: F401  imported before the clock starts
    from ml_backend.learners.detector.training import train
    from ml_backend.learners.training_job import TrainingJob

    examples, classes = labelled(), read_folder(REAL).classes
    ends: dict[int, dict[str, float]] = {}
    clock = started(len(examples) * epochs)

    def told(step: dict[str, Any]) -> None:
        if "epoch" in step:
            ends[step["epoch"]] = clock()

    with tempfile.TemporaryDirectory() as out:
        base = find_starter_weights("starter:mitosis")
        job = TrainingJob(
            examples,
            classes,
            choose_headline(classes),
            base,
            Path(out),
            epochs=epochs,
            imgsz=RECIPE.imgsz,
        )
        train(job, told)
    return ends[epochs]


class Over(Exception):
    """The last pass is done."""


def bare(epochs: int) -> dict[str, float]:
    from ml_backend.learners.detector import weights

    examples, classes = labelled(), read_folder(REAL).classes
    with tempfile.TemporaryDirectory() as name:
        training = trainer(
            examples,
            classes,
            Path(name),
            imgsz=RECIPE.imgsz,
            batch=RECIPE.batch,
            epochs=epochs,
            close_mosaic=max(1, epochs // 4),
            save=False,
        )
        network = weights.build_network("yolov5n", classes, RECIPE.head)
        weights.load_base(network, find_starter_weights("starter:mitosis"), classes)
        training.model = network
        clock = started(len(examples) * epochs)

        def ended(trainer: Any) -> None:
            if trainer.epoch + 1 == epochs:
                raise Over

        training.add_callback("on_train_epoch_end", ended)
        try:
            training.train()
        except Over:
            return clock()
    raise AssertionError("ultralytics ended before its last pass")


def started(images: int) -> Callable[[], dict[str, float]]:
    """A clock that tells what has passed since, an image of `images`."""
    import psutil

    here = psutil.Process()

    def cpu() -> float:
        """Seconds of this process and of all its children, running and ended."""
        own = here.cpu_times()
        running = [child.cpu_times() for child in here.children(recursive=True)]
        ended = getattr(own, "children_user", 0) + getattr(own, "children_system", 0)
        return float(ended + sum(times.user + times.system for times in [own, *running]))

    began, used = time.perf_counter(), cpu()

    def now() -> dict[str, float]:
        passed = {"ms": time.perf_counter() - began, "cpu_ms": cpu() - used}
        return {f"{name}_an_image": round(1000 * s / images, 2) for name, s in passed.items()}

    return now


SIDES: dict[str, Callable[[int], dict[str, float]]] = {"ours": ours, "bare": bare}


if __name__ == "__main__":
    main()
