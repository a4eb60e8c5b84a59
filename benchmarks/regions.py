"""Shapes of chromosomes: detector, classifier, and both together, on spreads left out.

    uv run python benchmarks/regions.py --train detector --spread 0 --models DIR
    uv run python benchmarks/regions.py --train finder --spread 0 --models DIR
    uv run python benchmarks/regions.py --train classifier --spread 0 --seed 0 --models DIR
    uv run python benchmarks/regions.py --judge --models DIR

A training leaves one of the four spreads out and takes minutes, so each is a command of its own,
kept in DIR and not done twice. What is judged are the files that serve, on the spread left out:

true boxes       the classifier names each marked chromosome; every seed, and the mean of all
detector         the most confident box on each marked chromosome names it; a missed one is wrong
together         the same boxes, named by both: p = d^(1-w) · q^w, where d are the detector's
                 confidences of the classes at that place, q the classifier's probabilities, and
                 w, the classifier's share, is the best one of the other spreads
finder           a detector that was taught one class, and the classifier names what it finds: what
                 a project does whose boxes have one label and a choice each

Differences are paired, over resamples of chromosomes within spreads.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ml_backend.dataset.example import Example
from ml_backend.dataset.folder import Folder, read_folder
from ml_backend.imaging.boxes import Boxes, compute_iou
from ml_backend.imaging.decode import decode
from ml_backend.learners.base import Picture
from ml_backend.learners.detector.inference import Detector
from ml_backend.learners.detector.training import train as train_detector
from ml_backend.learners.model_file import REGION_CLASSIFIER
from ml_backend.learners.region_classifier.inference import RegionClassifier
from ml_backend.learners.region_classifier.training import train as train_classifier
from ml_backend.learners.training_job import TrainingJob
from ml_backend.promotion.predict_examples import FLOOR
from ml_backend.registry.starters import find_starter_weights

DATA = Path(__file__).parents[2] / "shared" / "data" / "chromatid_cohesion"
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
LEAST = 0.01  # what a class counts at least, that nothing was found of
RESAMPLES = 2000
OBJECT = "Object"
FINDERS = ("detector", "finder")


@dataclass(frozen=True)
class Spread:
    """What the models say of one spread's marked chromosomes.

    Attributes:
        truth: (N,) int, the class of each.
        detected: (N, C), the detector's confidence of each class at its place; 0 where missed.
        by_seed: (S, N, C), log-probabilities on true boxes.
        by_seed_found: (S, N, C), on the boxes found; 0 where missed.
        found: (N,) bool, what the finder found; None where there is no finder.
        by_seed_finder: (S, N, C), on the finder's boxes.
    """

    truth: np.ndarray
    detected: np.ndarray
    by_seed: np.ndarray
    by_seed_found: np.ndarray
    found: np.ndarray | None
    by_seed_finder: np.ndarray

    def name_found(self, share: float) -> np.ndarray:
        """The class of each chromosome (N,) by both; -1 where it is missed."""
        d = self.detected.clip(LEAST)
        scores = (1 - share) * np.log(d) + share * self.by_seed_found.mean(axis=0)
        return np.where(self.detected.any(axis=1), scores.argmax(axis=1), -1)

    def name_found_by_finder(self, seeds: slice) -> np.ndarray:
        """The class of each chromosome (N,) by the mean of some seeds; -1 where it is missed."""
        assert self.found is not None
        return np.where(self.found, self.by_seed_finder[seeds].mean(axis=0).argmax(axis=1), -1)


def main() -> None:
    """Train one model, or judge those that there are."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--train", choices=("detector", "finder", "classifier"))
    options.add_argument("--judge", action="store_true")
    options.add_argument("--spread", type=int, default=0, help="that is left out, from 0")
    options.add_argument("--seed", type=int, default=0, help="of the training")
    options.add_argument("--models", type=Path, required=True, help="folder of the models")
    asked = options.parse_args()
    if not DATA.is_dir():
        sys.exit(f"the real images are not at {DATA}")
    folder = read_folder(DATA)
    if asked.train:
        train(folder, asked.train, asked.spread, asked.seed, asked.models)
    if asked.judge:
        judge(folder, asked.models)


def train(folder: Folder, what: str, spread: int, seed: int, models: Path) -> None:
    """Train without one spread."""
    out = models / f"{what}-{spread}-{seed}"
    if (out / "model.xml").exists():
        return
    learned = [example for number, example in enumerate(folder.examples) if number != spread]
    classes = folder.classes
    if what == "finder":
        classes = (OBJECT,)
        learned = [replace(example, boxes=call_all_alike(example.boxes)) for example in learned]
    job = TrainingJob(learned, classes, classes, None, out, seed=seed)
    started, busy = time.perf_counter(), time.process_time()
    if what != "classifier":
        train_detector(
            replace(job, base=find_starter_weights("starter:mitosis")), lambda step: None
        )
    else:
        train_classifier(replace(job, kind=REGION_CLASSIFIER), lambda step: None)
    seconds, cpu = time.perf_counter() - started, time.process_time() - busy
    print(f"{out.name}: {seconds:.0f} s, {cpu:.0f} s of a core", flush=True)


def call_all_alike(boxes: Boxes | None) -> Boxes | None:
    """The same boxes, all of one class."""
    return boxes and replace(boxes, label=np.full(len(boxes), OBJECT))


def judge(folder: Folder, models: Path) -> None:
    """Print what is known of the spreads for which there are models."""
    spreads = {}
    for number, example in enumerate(folder.examples):
        classifiers = sorted(models.glob(f"classifier-{number}-*"))
        if classifiers:
            finders = [load_detector(models / f"{what}-{number}-0") for what in FINDERS]
            loaded = [RegionClassifier.load(place) for place in classifiers]
            spreads[number] = look(example, folder.classes, *finders, loaded)
    everything = list(spreads.values())
    truth = [spread.truth for spread in everything]
    seeds = min(len(spread.by_seed) for spread in everything)
    print(f"true boxes of spreads {list(spreads)}, {sum(map(len, truth))} chromosomes:")
    single = [[s.by_seed[seed].argmax(axis=1) for s in everything] for seed in range(seeds)]
    mean = [spread.by_seed[:seeds].mean(axis=0).argmax(axis=1) for spread in everything]
    for seed, named in enumerate(single):
        print(f"  seed {seed}: {describe(truth, named)}")
        if seeds > 1:
            print(f"    mean less seed {seed}: {describe_difference(truth, mean, named)}")
    if seeds > 1:
        print(f"  mean of {seeds}: {describe(truth, mean)}")
    found = {number: spread for number, spread in spreads.items() if spread.detected.any()}
    if not found:
        return
    truth = [spread.truth for spread in found.values()]
    alone = [spread.name_found(0.0) for spread in found.values()]
    print(f"from the spread, {list(found)}, missed ones wrong:")
    print(f"  detector alone: {describe(truth, alone)}")
    for share in SHARES[1:]:
        named = [spread.name_found(share) for spread in found.values()]
        print(f"  together, classifier's share {share}: {describe(truth, named)}")
        print(f"    less the detector alone: {describe_difference(truth, named, alone)}")
    if all(spread.found is not None for spread in found.values()):
        for what, seeds_of in (("classifier of seed 0", slice(1)), ("mean", slice(seeds))):
            named = [spread.name_found_by_finder(seeds_of) for spread in found.values()]
            print(f"  finder, {what}: {describe(truth, named)}")
            print(f"    less the detector alone: {describe_difference(truth, named, alone)}")
    if len(found) > 1:
        both = [
            spread.name_found(choose_share([s for n, s in found.items() if n != number]))
            for number, spread in found.items()
        ]
        print(f"  together, share by the other spreads: {describe(truth, both)}")
        print(f"    less the detector alone: {describe_difference(truth, both, alone)}")


def load_detector(folder: Path) -> Detector | None:
    return Detector.load(folder) if (folder / "model.xml").exists() else None


def look(
    example: Example,
    classes: tuple[str, ...],
    detector: Detector | None,
    finder: Detector | None,
    classifiers: list[RegionClassifier],
) -> Spread:
    """Ask the models about one spread."""
    assert example.boxes is not None
    pixels = decode(example.image)
    marked = example.boxes
    truth = np.array([classes.index(name) for name in marked.label])
    detected, boxes = detect(detector, example, pixels, classes)
    found, places = detect(finder, example, pixels, (OBJECT,))
    by_seed, by_seed_found, by_seed_finder = (
        np.stack([ask(model, pixels, xyxy, classes) for model in classifiers])
        for xyxy in (marked.xyxy, boxes, places)
    )
    is_found = found.any(axis=1) if finder else None
    return Spread(truth, detected, by_seed, by_seed_found, is_found, by_seed_finder)


def detect(
    detector: Detector | None, example: Example, pixels: np.ndarray, classes: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """What a detector finds of the marked boxes.

    Returns:
        (N, C), its confidence of each class at each, 0 where it is missed; (N, 4), its box there,
        or the marked one.
    """
    marked = example.boxes
    assert marked is not None
    detected = np.zeros((len(marked), len(classes)))
    boxes = marked.xyxy.copy()
    if detector is not None:
        (answer,) = detector.predict([Picture(pixels, example.pixel_size)], FLOOR)
        found = answer.boxes
        shown = found.confidence >= detector.card.threshold
        overlap = compute_iou(marked.xyxy, found.xyxy)
        for place in range(len(marked)):
            on_it = np.flatnonzero((overlap[place] >= 0.5) & shown)
            if len(on_it):
                best = on_it[found.confidence[on_it].argmax()]
                boxes[place] = found.xyxy[best]
                here = compute_iou(found.xyxy[best : best + 1], found.xyxy)[0] >= 0.5
                for name, confidence in zip(found.label[here], found.confidence[here], strict=True):
                    column = classes.index(name)
                    detected[place, column] = max(detected[place, column], confidence)
    return detected, boxes


def ask(
    model: RegionClassifier, pixels: np.ndarray, xyxy: np.ndarray, classes: tuple[str, ...]
) -> np.ndarray:
    """Log-probabilities (N, C) of boxes."""
    boxes = Boxes(xyxy, np.full(len(xyxy), ""), np.ones(len(xyxy)))
    (answer,) = model.predict([Picture(pixels, boxes=boxes)])
    rows = [[choices[name] for name in classes] for choices in answer.region_choices]
    return np.log(np.array(rows).clip(1e-6))


def choose_share(spreads: list[Spread]) -> float:
    """The classifier's share that names these spreads best."""
    truth = np.concatenate([spread.truth for spread in spreads])
    return max(
        SHARES,
        key=lambda share: measure(truth, np.concatenate([s.name_found(share) for s in spreads])),
    )


def measure(truth: np.ndarray, named: np.ndarray) -> float:
    """Balanced accuracy: mean recall of the classes."""
    return float(np.mean([(named[truth == label] == label).mean() for label in np.unique(truth)]))


def describe(truth: list[np.ndarray], named: list[np.ndarray]) -> str:
    """Balanced accuracy, accuracy, and what is missed."""
    true, called = np.concatenate(truth), np.concatenate(named)
    by_class = " ".join(
        f"{(called[true == label] == label).mean():.2f}" for label in np.unique(true)
    )
    return (
        f"balanced {measure(true, called):.3f} (by class {by_class}), accuracy "
        f"{(true == called).mean():.3f}, missed {(called < 0).sum()} of {len(true)}"
    )


def describe_difference(
    truth: list[np.ndarray], one: list[np.ndarray], other: list[np.ndarray]
) -> str:
    """Difference of balanced accuracy with its 95 % interval, over resampled chromosomes."""
    rng = np.random.default_rng(0)
    differences = []
    for _ in range(RESAMPLES):
        drawn = [rng.integers(0, len(part), len(part)) for part in truth]
        rows = [
            np.concatenate([part[places] for part, places in zip(parts, drawn, strict=True)])
            for parts in (truth, one, other)
        ]
        differences.append(measure(rows[0], rows[1]) - measure(rows[0], rows[2]))
    whole = [np.concatenate(parts) for parts in (truth, one, other)]
    value = measure(whole[0], whole[1]) - measure(whole[0], whole[2])
    low, high = np.quantile(differences, (0.025, 0.975))
    return f"{value:+.3f} ({low:+.3f} to {high:+.3f})"


if __name__ == "__main__":
    main()
