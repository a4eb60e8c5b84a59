"""Training a classifier: images and what they were called in, weights and an IR out."""

from __future__ import annotations

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


def train(job: TrainingJob, progress: Progress) -> Path:
    """Train in this process; the path of the weights, beside which the IR lies.

    Models that leave out whole groups decide whether refining all layers is worth it, and give
    the temperature that makes probabilities mean what they say; the hold-out has no part in it.

    Raises:
        TrainingFailed: There is nothing to train on, or a single class.
        TrainingInterrupted: Memory ran out.
    """
    labelled = [example for example in job.examples if example.choices is not None]
    images, kept = _read(labelled, progress)
    if not kept:
        raise TrainingFailed(
            f"none of the {len(labelled)} labelled images can be read; see the reasons above"
            if labelled
            else "no image is labelled yet; correct and submit some tasks first"
        )
    wanted = _to_shares(kept, job.classes)
    taught = int((wanted.sum(axis=0) > 0).sum())
    if taught < 2:
        raise TrainingFailed(
            "all images that can be read are of one class; label some of another one too"
        )

    import torch

    from ml_backend.learners.classifier.export import export
    from ml_backend.learners.classifier.network import ARCHITECTURE
    from ml_backend.learners.classifier.pupil import Pupil
    from ml_backend.learners.classifier.weights import load, save

    side = median(max(image.shape[:2]) for image in images)
    recipe = choose_recipe(len(kept), side, epochs=job.epochs, size=job.imgsz)
    several = any(len(example.choices or ()) > 1 for example in kept)
    squares = torch.from_numpy(np.stack([to_square(image, recipe.size) for image in images]))
    del images
    torch.manual_seed(job.seed)
    pupil = Pupil(squares, torch.from_numpy(wanted), recipe, several, job.seed, progress)
    try:
        folds = _split(kept, recipe.folds) if len(kept) >= FEWEST_FOR_FOLDS else []
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
        kind=CLASSIFIER,
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


def _read(examples: list[Example], progress: Progress) -> tuple[list[np.ndarray], list[Example]]:
    images, kept = [], []
    for example in examples:
        try:
            images.append(decode(example.image))
            kept.append(example)
        except (ValueError, OSError) as error:
            progress({"skipped": str(example.image), "reason": str(error)})
    return images, kept


def _to_shares(examples: list[Example], classes: tuple[str, ...]) -> np.ndarray:
    """(N, C) float32: 1 for each class that was chosen, or the share of those who chose it."""
    place = {name: number for number, name in enumerate(classes)}
    shares = np.zeros((len(examples), len(classes)), np.float32)
    for row, example in enumerate(examples):
        shown = example.choice_shares or dict.fromkeys(example.choices or (), 1.0)
        for name, share in shown.items():
            if name in place:
                shares[row, place[name]] = share
    return shares


def _split(examples: list[Example], folds: int) -> list[np.ndarray]:
    """Indices of each fold: whole groups, evenly filled; single images where there is one group."""
    groups: dict[str, list[int]] = {}
    names = [example.group for example in examples]
    if len(set(names)) < 2 * folds:
        names = [str(example.image) for example in examples]
    for index, name in enumerate(names):
        groups.setdefault(name, []).append(index)
    held: list[list[int]] = [[] for _ in range(folds)]
    for name in sorted(groups, key=lambda name: (-len(groups[name]), name)):
        min(held, key=len).extend(groups[name])
    return [np.array(sorted(indices)) for indices in held if indices]
