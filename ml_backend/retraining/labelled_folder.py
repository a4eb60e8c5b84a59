"""Training and judging on a labelled folder, without Label Studio."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ml_backend.dataset.folder import read_folder
from ml_backend.label_studio.class_names import choose_headline
from ml_backend.learners.base import Progress
from ml_backend.learners.kinds import find_learner, load_model
from ml_backend.learners.model_file import DETECTOR
from ml_backend.promotion.predict_examples import predict_examples
from ml_backend.registry import resolve
from ml_backend.registry.versions import DATASET_PROJECT, Registry, Version, hash_file
from ml_backend.retraining.train_version import Lesson, NothingToLearn, Wishes, train_version
from ml_backend.settings import Settings


def train_folder(
    settings: Settings,
    registry: Registry,
    folder: Path,
    wishes: Wishes = Wishes(),
    progress: Progress = lambda step: None,
) -> tuple[Version, list[tuple[str, str]]]:
    """A version of the project "dataset" trained on a labelled folder's images.

    Also gives what of the folder could not be used, and why. Images without an
    annotation file are not trained on. Raises ValueError, NothingToLearn, TrainingFailed.
    """
    found = read_folder(folder)
    labelled = [example for example in found.examples if example.boxes is not None]
    if not choose_headline(found.classes):
        raise NothingToLearn(
            f"{folder} has no box of a headline class to learn from{found.describe_first_fault()}"
        )
    hashes = [hash_file(example.image) for example in labelled]
    content = sorted(
        (digest, sorted(example.boxes.to_rows()), example.ignored.tolist())
        for digest, example in zip(hashes, labelled, strict=True)
        if example.boxes is not None
    )
    name = hashlib.sha256(json.dumps(content).encode("utf-8")).hexdigest()[:16]
    lesson = Lesson(
        DETECTOR,
        labelled,
        found.classes,
        name,
        hashes,
        [example.group for example in labelled],
    )
    base = wishes.base or resolve.DEFAULT_MODEL
    version = train_version(settings, registry, DATASET_PROJECT, lesson, base, wishes, progress)
    return version, found.skipped


def evaluate_folder(
    registry: Registry, folder: Path, model: str, progress: Callable[[int, int], None]
) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """The figures of a model on a labelled folder, and what could not be used.

    "headline" are the classes that the means are over; "trained_on" counts the images that the
    version, or an ancestor, was trained on.
    Raises ValueError where nothing in the folder is labelled.
    """
    found = read_folder(folder)
    if all(one.boxes is None and one.image_label is None for one in found.examples):
        raise ValueError(
            f"{folder}: none of its {len(found.examples)} images is labelled"
            f"{found.describe_first_fault()}"
        )
    version = resolve.resolve_model(model, registry)
    loaded = load_model(registry.get_folder(version.name))
    kept, predictions, unreadable = predict_examples(loaded, found.examples, progress)
    figures = find_learner(loaded.card.kind).evaluate(kept, predictions, loaded.card)
    known = set(version.seen_hashes)
    seen = sum(hash_file(example.image) in known for example in kept)
    result = {
        "model": version.name,
        "headline": list(loaded.card.headline),
        **figures.to_json(),
        "trained_on": seen,
    }
    return result, [*found.skipped, *unreadable]
