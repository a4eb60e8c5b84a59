"""Training a classifier: images and what they were called in, weights and an IR out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from ml_backend.dataset.example import Example
from ml_backend.imaging.decode import decode
from ml_backend.learners.base import NO_MEMORY, Progress, TrainingFailed, TrainingInterrupted
from ml_backend.learners.classifier.hyperparameters import choose_recipe
from ml_backend.learners.classifier.preprocess import to_square
from ml_backend.learners.model_file import CLASSIFIER, FILE_NAME, ModelCard
from ml_backend.learners.training_job import TrainingJob

# Fewer images than this are too few to leave some out: no temperature is fitted.
FEWEST_FOR_FOLDS = 20


@dataclass(frozen=True)
class Sample:
    """What a classifier learns from: one look at one thing.

    Attributes:
        pixels: (H, W, 3) uint8 RGB, of an image or of a part of it.
        choices: What it was called.
        image: The file that it is from.
        group: What must stay on one side of a split.
        shares: Where annotators differ, the share of each choice.
    """

    pixels: np.ndarray
    choices: tuple[str, ...]
    image: str
    group: str
    shares: Mapping[str, float] | None = None


def train(job: TrainingJob, progress: Progress) -> Path:
    """Train on whole images in this process; the path of the weights, beside which the IR lies.

    Raises:
        TrainingFailed: There is nothing to train on, or a single class.
        TrainingInterrupted: Memory ran out.
    """
    labelled = [example for example in job.examples if example.choices is not None]
    samples = list(_read(labelled, progress))
    if not samples:
        raise TrainingFailed(
            f"none of the {len(labelled)} labelled images can be read; see the reasons above"
            if labelled
            else "no image is labelled yet; correct and submit some tasks first"
        )
    return learn(samples, job, CLASSIFIER, progress)


def learn(samples: Sequence[Sample], job: TrainingJob, kind: str, progress: Progress) -> Path:
    """Learn samples, and write what serves.

    Models that leave out whole groups decide whether refining all layers is worth it, and give
    the temperature that makes probabilities mean what they say; the hold-out has no part in it.

    Args:
        samples: At least one.
        job: The classes, and what else was asked for.
        kind: The learner that is written into the card.
        progress: Called with how far it is.

    Returns:
        The path of the weights.

    Raises:
        TrainingFailed: They are of a single class.
        TrainingInterrupted: Memory ran out.
    """
    wanted = _to_shares(samples, job.classes)
    taught = int((wanted.sum(axis=0) > 0).sum())
    if taught < 2:
        what = "images" if kind == CLASSIFIER else "boxes"
        raise TrainingFailed(
            f"all {what} that can be read are of one class; label some of another one too"
        )

    import torch

    from ml_backend.learners.classifier.export import export
    from ml_backend.learners.classifier.network import ARCHITECTURE
    from ml_backend.learners.classifier.pupil import Pupil
    from ml_backend.learners.classifier.weights import load, save

    side = median(max(sample.pixels.shape[:2]) for sample in samples)
    recipe = choose_recipe(len(samples), side, epochs=job.epochs, size=job.imgsz)
    several = any(len(sample.choices) > 1 for sample in samples)
    squares = torch.from_numpy(
        np.stack([to_square(sample.pixels, recipe.size) for sample in samples])
    )
    torch.manual_seed(job.seed)
    pupil = Pupil(squares, torch.from_numpy(wanted), recipe, several, job.seed, progress)
    try:
        folds = _split(samples, recipe.folds) if len(samples) >= FEWEST_FOR_FOLDS else []
        networks, temperature = pupil.learn(folds)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, MemoryError) or "allocate memory" in str(error):
            raise TrainingInterrupted(NO_MEMORY) from error
        raise
    card = ModelCard(
        architecture=ARCHITECTURE,
        classes=job.classes,
        headline=job.headline,
        scale=1.0,
        threshold=0.5,
        kind=kind,
        options={
            "size": recipe.size,
            "several": several,
            "temperature": round(temperature, 4),
            "networks": len(networks),
        },
    )
    path = job.out / FILE_NAME
    save(networks, card, path)
    # What serves is what the file holds, 16 bits wide.
    export(load(path)[0], recipe.size, temperature, several, job.out)
    return path


def _read(examples: Sequence[Example], progress: Progress) -> Iterator[Sample]:
    for example in examples:
        try:
            pixels = decode(example.image)
        except (ValueError, OSError) as error:
            progress({"skipped": str(example.image), "reason": str(error)})
            continue
        yield Sample(
            pixels,
            example.choices or (),
            str(example.image),
            example.group,
            example.choice_shares,
        )


def _to_shares(samples: Sequence[Sample], classes: tuple[str, ...]) -> np.ndarray:
    """(N, C) float32: 1 for each class that was chosen, or the share of those who chose it."""
    place = {name: number for number, name in enumerate(classes)}
    shares = np.zeros((len(samples), len(classes)), np.float32)
    for row, sample in enumerate(samples):
        shown = sample.shares or dict.fromkeys(sample.choices, 1.0)
        for name, share in shown.items():
            if name in place:
                shares[row, place[name]] = share
    return shares


def _split(samples: Sequence[Sample], folds: int) -> list[np.ndarray]:
    """Indices of each fold, evenly filled: of whole groups, else of whole images, else of samples.

    The coarsest of the three is taken of which there are enough, and which leaves every fold
    something of each class to learn from.
    """
    singly = [str(number) for number in range(len(samples))]
    for names in ([sample.group for sample in samples], [sample.image for sample in samples]):
        if len(set(names)) >= folds:
            held = _fill(names, folds)
            if all(_teaches_all(samples, left_out) for left_out in held):
                return held
    return _fill(singly, folds)


def _fill(names: Sequence[str], folds: int) -> list[np.ndarray]:
    """Indices of each fold: those of one name together."""
    units: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        units.setdefault(name, []).append(index)
    held: list[list[int]] = [[] for _ in range(folds)]
    for name in sorted(units, key=lambda name: (-len(units[name]), name)):
        min(held, key=len).extend(units[name])
    return [np.array(sorted(indices)) for indices in held if indices]


def _teaches_all(samples: Sequence[Sample], left_out: np.ndarray) -> bool:
    """Tell whether what is not left out still shows every class."""
    rest = np.setdiff1d(np.arange(len(samples)), left_out)
    shown = {name for index in rest for name in samples[index].choices}
    return shown >= {name for sample in samples for name in sample.choices}
